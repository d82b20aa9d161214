# shellcheck shell=bash
# Apache Kafka from its Maven artifacts: one broker with KRaft, its command line tools, no scripts. Tests start it by `java -cp`.
# shellcheck disable=SC2034 # read by parts.sh
KAFKA=4.2.1
VERSION="$KAFKA classes"

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
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka_2.13</artifactId><version>$KAFKA</version></dependency>
		    <dependency><groupId>org.apache.kafka</groupId><artifactId>kafka-tools</artifactId><version>$KAFKA</version></dependency>
		  </dependencies>
		</project>
	POM
	mvn -q -B -f "$PART/pom.xml" dependency:copy-dependencies -DincludeScope=runtime -DoutputDirectory="$PART/libs" >"$PART/mvn.log" 2>&1 || {
		tail -n 20 "$PART/mvn.log" >&2
		return 1
	}
	java -cp "$PART/libs/*" kafka.Kafka --version 2>/dev/null | grep -qF "$KAFKA" || {
		say "kafka: the broker doesn't start with $(java -version 2>&1 | head -n 1)"
		return 1
	}
	local dir=$WORK/kafka broker controller
	broker=$(random_port) controller=$(random_port)
	mkdir "$dir"
	cat >"$dir/server.properties" <<-PROPERTIES
		process.roles=broker,controller
		node.id=1
		controller.quorum.voters=1@127.0.0.1:$controller
		listeners=PLAINTEXT://127.0.0.1:$broker,CONTROLLER://127.0.0.1:$controller
		listener.security.protocol.map=PLAINTEXT:PLAINTEXT,CONTROLLER:PLAINTEXT
		controller.listener.names=CONTROLLER
		log.dirs=$dir/data
	PROPERTIES
	java -cp "$PART/libs/*" kafka.tools.StorageTool format -t MkU3OEVBNTcwNTJENDM2Qk -c "$dir/server.properties" >/dev/null 2>&1
	share_classes "$broker" kafka.Kafka "$dir/server.properties"
}
