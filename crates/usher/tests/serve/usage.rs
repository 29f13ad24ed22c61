//! What pods and the node use.

use serde_json::Value;

use crate::{Served, kubectl, machine};

/// Burns a processor until it is deleted.
const BUSY: &str = "apiVersion: v1
kind: Pod
metadata: {name: busy, labels: {load: high}}
spec:
  terminationGracePeriodSeconds: 0
  containers:
  - name: burns
    image: tapp:1
    imagePullPolicy: Never
    command: [sh, -c, 'while :; do :; done']
";

/// The columns of a table, row by row.
fn rows(table: &str) -> Vec<Vec<&str>> {
    table.lines().map(|line| line.split_whitespace().collect()).collect()
}

fn millis(cell: &str) -> u64 {
    cell.strip_suffix('m').and_then(|number| number.parse().ok()).unwrap_or_else(|| panic!("{cell} is no part of a core"))
}

#[test]
fn kubectl_top_tells_what_pods_and_the_node_use() {
    let Some(machine) = machine("kubectl_top_tells_what_pods_and_the_node_use") else { return };
    let served = Served::start(&machine);
    served.start_pod();
    let file = machine.file("busy.yaml", BUSY);
    served.ok(&["apply", "-f", file.to_str().expect("text")]);
    served.ok(&["wait", "--for=condition=Ready", "pod/busy", "pod/web", "--timeout=60s"]);
    let node = served.ok(&["get", "nodes", "-o", "jsonpath={.items[0].metadata.name}"]);
    let kubectls = [Some(kubectl().to_owned()), std::env::var("KUBECTL_OLD").ok()];
    for kubectl in kubectls.into_iter().flatten() {
        let top = |arguments: &[&str]| {
            let arguments: Vec<&str> = ["top"].iter().chain(arguments).copied().collect();
            let output = served.command(&kubectl, &arguments).output().expect("kubectl runs");
            let [out, err] = [output.stdout, output.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
            (output.status.success(), out, err)
        };
        let (is_told, table, error) = top(&["pod", "--containers", "--no-headers"]);
        assert!(is_told, "{kubectl}: {error}");
        let rows_of_pods = rows(&table);
        let [busy, web] = rows_of_pods.as_slice() else { panic!("two rows: {table}") };
        assert_eq!((busy[..2].to_vec(), web[..2].to_vec()), (vec!["busy", "burns"], vec!["web", "app"]));
        assert!(millis(busy[2]) >= 50 && millis(busy[2]) > millis(web[2]), "{table}");
        assert!(busy[3].ends_with("Mi"), "{table}");
        let (_, table, _) = top(&["pod", "-l", "load=high", "--no-headers"]);
        assert_eq!(rows(&table).iter().map(|row| row[0]).collect::<Vec<_>>(), ["busy"]);
        let (is_told, table, error) = top(&["node", "--no-headers"]);
        assert!(is_told && rows(&table)[0][0] == node && millis(rows(&table)[0][1]) >= 50, "{table}{error}");
        let (is_told, _, error) = top(&["pod", "nobody"]);
        assert!(!is_told && error.contains("pods \"nobody\" not found"), "{error}");
    }
    let web = served.ok(&["get", "--raw", "/apis/metrics.k8s.io/v1beta1/namespaces/default/pods/web"]);
    let web: Value = serde_json::from_str(&web).expect("JSON");
    let memory = web["containers"][0]["usage"]["memory"].as_str().and_then(|memory| memory.strip_suffix("Ki")).expect("a quantity");
    assert!(memory.parse::<u64>().expect("a number") > 0, "{web}");
    assert!(served.ok(&["api-resources"]).contains("metrics.k8s.io/v1beta1"));
    // The same name means the core's kind first.
    assert!(served.ok(&["get", "pods", "-o", "name"]).contains("pod/web"));
    served.ok(&["delete", "pod", "busy", "web", "--timeout=60s"]);
}
