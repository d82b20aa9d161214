package main

import "slices"

// all returns every mutant.
func all() []mutant {
	return slices.Concat(
		mutants, sourceMutants,
		accountMutants,
		boundaryMutants,
		followMutants,
		figureMutants,
		hostMutants,
		lateMutants,
		verifyMutants,
		sinkMutants,
		wireMutants,
	)
}
