package elsa

import (
	"fmt"
	"math/rand/v2"
	"testing"
)

// TestNames holds the names of attributes against a map, in records of very different sizes one after the other.
func TestNames(t *testing.T) {
	r := rand.New(rand.NewPCG(1, 2))
	var read, unpacked row
	for round := range 300 {
		read.reset()
		want := map[string]int{}
		n := r.IntN(40)
		if round%50 == 0 {
			n = 3000
		}
		for range n {
			name := fmt.Sprint("n", r.IntN(2*n))
			read.set([]byte(name), value{formText, []byte("v")})
			want[name]++
		}
		// A name is there once as it is, and with a number for each time more; names with numbers weren't given.
		distinct := map[string]bool{}
		for _, a := range read.attributes {
			if distinct[string(a.name)] {
				t.Fatalf("round %d: %q twice", round, a.name)
			}
			distinct[string(a.name)] = true
		}
		if len(distinct) != n {
			t.Fatalf("round %d: %d attributes of %d", round, len(distinct), n)
		}
		for name, times := range want {
			if !distinct[name] || times > 1 && !distinct[fmt.Sprintf("%s#%d", name, times)] || distinct[fmt.Sprintf("%s#%d", name, times+1)] {
				t.Fatalf("round %d: %q came %d times: %v", round, name, times, distinct)
			}
		}
		// The batcher adds one more to a row that was packed.
		if err := unpacked.unpack(read.pack(nil)); err != nil {
			t.Fatal(err)
		}
		for range 2 {
			unpacked.attribute([]byte("n"), value{formText, []byte("v")}, false)
		}
		if last := unpacked.attributes[len(unpacked.attributes)-1]; string(last.name) != "n#2" {
			t.Fatalf("round %d: the second %q is %q", round, "n", last.name)
		}
	}
}
