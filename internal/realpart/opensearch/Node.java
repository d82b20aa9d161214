import org.codelibs.opensearch.runner.OpenSearchRunner;

/** One OpenSearch node on a loopback port, with a data folder, until it is killed: Node FOLDER PORT. */
public class Node {
	public static void main(String[] args) throws Exception {
		OpenSearchRunner runner = new OpenSearchRunner();
		runner.onBuild((number, settings) -> {
			settings.put("http.cors.enabled", false);
			settings.put("http.port", args[1]);
			settings.put("transport.port", "0");
			settings.put("network.host", "127.0.0.1");
			settings.put("discovery.type", "single-node");
			settings.put("cluster.routing.allocation.disk.threshold_enabled", false);
			settings.put("action.destructive_requires_name", false);
		}).build(OpenSearchRunner.newConfigs().clusterName("sluice-test").numOfNode(1).basePath(args[0]).useLogger());
		Thread.sleep(Long.MAX_VALUE);
	}
}
