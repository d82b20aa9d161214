# shellcheck shell=bash
# Apache Kafka from its Maven artifacts: one broker with KRaft, its command line tools, no scripts. Tests start it by `java -cp`.
# shellcheck disable=SC2034 # read by parts.sh
VERSION=4.2.1

install_part() {
	local missing=()
	command -v java >/dev/null || missing+=("java 17 or later (apt-get install openjdk-17-jre-headless)")
	command -v mvn >/dev/null || missing+=("mvn (apt-get install maven)")
	if [ ${#missing[@]} -gt 0 ]; then
		say "kafka needs ${missing[*]}"
		return 1
	fi
	cat >"$PART/pom.xml" <<-POM
		<project xmlns="http://maven.apache.org/POM/4.0.0">
		  <modelVersion>4.0.0</modelVersion>
		  <groupId>sluice.parts</groupId><artifactId>kafka</artifactId><version>1</version>
		  <dependencies>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$VERSION</version></dependency>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$VERSION</version></dependency>
		  </dependencies>
		</project>
	POM
	mvn -q -B -f "$PART/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$PART/libs" >"$PART/mvn.log" 2>&1 || {
		tail -n 20 "$PART/mvn.log" >&2
		return 1
	}
	java -cp "$PART/libs/*" kafka.Kafka --version 2>/dev/null | grep -qF "$VERSION" || {
		say "kafka: the broker doesn't start with $(java -version 2>&1 | head -n 1)"
		return 1
	}
}
