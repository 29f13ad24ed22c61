use super::*;
use crate::diagnostic::{Colour, render};

const HEAD: &str = "apiVersion: kubelet.config.k8s.io/v1beta1\nkind: KubeletConfiguration\n";

#[track_caller]
fn read_well(text: &str) -> KubeletConfiguration {
    let source = Source::new("node.yaml", text.as_bytes()).expect("text");
    let loaded = load(&source);
    assert!(loaded.diagnostics.is_empty(), "{}", render(&source, &loaded.diagnostics, Colour::Plain));
    loaded.configuration
}

/// What is said of a file that begins well, each finding as `line:column message (help)`.
#[track_caller]
fn wrong(text: &str) -> Vec<String> {
    let source = Source::new("node.yaml", text.as_bytes()).expect("text");
    let loaded = load(&source);
    assert_eq!(loaded.configuration, KubeletConfiguration::default(), "nothing of a wrong file is used");
    let told = |diagnostic: &Diagnostic| {
        let label = diagnostic.primary.as_ref();
        let place = label.map_or(String::new(), |label| {
            let position = source.position(label.span.start);
            format!("{}:{} ", position.line, position.column)
        });
        let note =
            label.map(|label| label.text.as_str()).filter(|text| !text.is_empty()).map_or(String::new(), |text| format!(" [{text}]"));
        let help = diagnostic.help.first().map_or(String::new(), |help| format!(" ({help})"));
        format!("{place}{}{note}{help}", diagnostic.message)
    };
    loaded.diagnostics.iter().map(told).collect()
}

#[test]
fn all_that_is_acted_on_is_read_from_yaml_and_json() {
    let yaml = format!(
        "{HEAD}staticPodPath: /etc/pods
fileCheckFrequency: 1m
maxPods: 5
podsPerCore: 2
podPidsLimit: -1
serializeImagePulls: false
maxParallelImagePulls: 3
evictionHard: {{memory.available: 50Mi}}
evictionSoft: {{memory.available: 80Mi}}
evictionSoftGracePeriod: {{memory.available: 1m}}
evictionMinimumReclaim: {{memory.available: 1Mi}}
evictionPressureTransitionPeriod: 1m30s
evictionMaxPodGracePeriod: 7
mergeDefaultEvictionSettings: true
containerLogMaxSize: 1Mi
containerLogMaxFiles: 2
imageGCHighThresholdPercent: 70
imageGCLowThresholdPercent: 60
imageMinimumGCAge: 3m
imageMaximumGCAge: 48h
systemReserved: {{cpu: 200m}}
kubeReserved: {{memory: 64Mi}}
crashLoopBackOff: {{maxContainerRestartPeriod: 90s}}
allowedUnsafeSysctls: [net.core.somaxconn, kernel.msg*]
shutdownGracePeriodByPodPriority:
- {{priority: 0, shutdownGracePeriodSeconds: 30}}
failSwapOn: false
"
    );
    let read = read_well(&yaml);
    let map = |key: &str, value: &str| Some(BTreeMap::from([(key.to_owned(), value.to_owned())]));
    let expected = KubeletConfiguration {
        static_pod_path: Some("/etc/pods".to_owned()),
        file_check_frequency: Some(Duration::from_secs(60)),
        max_pods: Some(5),
        pods_per_core: Some(2),
        pod_pids_limit: Some(-1),
        serialize_image_pulls: Some(false),
        max_parallel_image_pulls: Some(3),
        eviction_hard: map("memory.available", "50Mi"),
        eviction_soft: map("memory.available", "80Mi"),
        eviction_soft_grace_period: map("memory.available", "1m"),
        eviction_minimum_reclaim: map("memory.available", "1Mi"),
        eviction_pressure_transition_period: Some(Duration::from_secs(90)),
        eviction_max_pod_grace_period: Some(7),
        merge_default_eviction_settings: Some(true),
        container_log_max_size: Some("1Mi".to_owned()),
        container_log_max_files: Some(2),
        image_gc_high_threshold_percent: Some(70),
        image_gc_low_threshold_percent: Some(60),
        image_minimum_gc_age: Some(Duration::from_secs(180)),
        image_maximum_gc_age: Some(Duration::from_secs(48 * 3600)),
        system_reserved: map("cpu", "200m"),
        kube_reserved: map("memory", "64Mi"),
        allowed_unsafe_sysctls: Some(vec!["net.core.somaxconn".to_owned(), "kernel.msg*".to_owned()]),
        crash_loop_back_off: Some(CrashLoopBackOff { max_container_restart_period: Some(Duration::from_secs(90)) }),
        shutdown_grace_period_by_pod_priority: Some(vec![PriorityGroup { priority: 0, shutdown_grace_period_seconds: 30 }]),
        ..KubeletConfiguration::default()
    };
    assert_eq!(read, expected);
    let json = r#"{"apiVersion": "kubelet.config.k8s.io/v1beta1", "kind": "KubeletConfiguration", "shutdownGracePeriod": "30s"}"#;
    let expected = KubeletConfiguration { shutdown_grace_period: Some(Duration::from_secs(30)), ..KubeletConfiguration::default() };
    assert_eq!(read_well(json), expected);
}

#[test]
fn unknown_fields_and_wrong_types_are_told_at_once_with_their_places_and_the_nearest_name() {
    let text = format!(
        "{HEAD}maxPod: 3\nevictionHard: memory.available<100Mi\npodPidsLimit: \"64\"\nshutdownGracePeriod: 30\nsyncFrequency: soon\n"
    );
    assert_eq!(
        wrong(&text),
        [
            "3:1 unknown field \"maxPod\" [did you mean `maxPods`?]",
            "4:15 evictionHard: expected a map, found the string \"memory.available<100Mi\"",
            "5:15 podPidsLimit: expected an integer, found the string \"64\" [write the number without quotes]",
            "6:22 shutdownGracePeriod: expected a length of time, found the number 30 [a length of time has a unit: 30s]",
            "7:1 \"syncFrequency\" is a field of KubeletConfiguration that is not supported here",
            "7:16 syncFrequency: \"soon\" is no length of time [write for example 30s, 1m30s or 250ms]",
        ]
    );
}

#[test]
fn a_field_that_is_not_acted_on_is_refused_with_what_there_is_instead() {
    let text = format!("{HEAD}clusterDNS: [10.0.0.10]\nsyncFrequency: 1m\ncgroupDriver: systemd\nfailSwapOn: true\n");
    assert_eq!(
        wrong(&text),
        [
            "3:1 \"clusterDNS\" is a field of KubeletConfiguration that is not supported here (pods ask the servers that the machine asks; `dnsConfig` of a pod says otherwise)",
            "4:1 \"syncFrequency\" is a field of KubeletConfiguration that is not supported here",
            "5:15 cgroupDriver: Unsupported value: only \"cgroupfs\" is supported (usher makes control groups itself, below `usher`)",
            "6:13 failSwapOn: Unsupported value: only false is supported (usher does not ask whether the machine has swap)",
        ]
    );
}

#[test]
fn values_out_of_range_or_against_each_other_are_told_with_their_places() {
    let text = format!(
        "{HEAD}maxPods: -1
podPidsLimit: 0
containerLogMaxSize: 10 MB
containerLogMaxFiles: 1
serializeImagePulls: true
maxParallelImagePulls: 2
systemReserved: {{cpu: -1, gpu: \"1\", memory: much}}
shutdownGracePeriod: 10s
shutdownGracePeriodCriticalPods: 20s
shutdownGracePeriodByPodPriority:
- {{priority: 0, shutdownGracePeriodSeconds: 1}}
- {{priority: 0, shutdownGracePeriodSeconds: -1}}
"
    );
    assert_eq!(
        wrong(&text),
        [
            "3:10 maxPods: Invalid value: -1: must be at least 0",
            "4:15 podPidsLimit: Invalid value: 0: must be above zero, or -1 for no limit",
            "5:22 containerLogMaxSize: Invalid value: \"10 MB\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            "6:23 containerLogMaxFiles: Invalid value: 1: must be at least 2",
            "8:24 maxParallelImagePulls: Invalid value: must be 1 with serializeImagePulls: true",
            "9:23 systemReserved[cpu]: expected a string, found the number -1 [put the value in quotes]",
            "9:32 systemReserved[gpu]: Unsupported value: there are cpu, memory, ephemeral-storage",
            "9:45 systemReserved[memory]: Invalid value: \"much\": quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'",
            "11:34 shutdownGracePeriodCriticalPods: Invalid value: must not be longer than shutdownGracePeriod",
            "13:3 shutdownGracePeriodByPodPriority: Invalid value: cannot be given together with shutdownGracePeriod or shutdownGracePeriodCriticalPods",
            "14:14 shutdownGracePeriodByPodPriority[1].priority: Duplicate value: 0",
            "14:45 shutdownGracePeriodByPodPriority[1].shutdownGracePeriodSeconds: Invalid value: must not be below zero",
        ]
    );
}

// k8s: 5.b.13, 5.b.15
#[test]
fn the_longest_pause_before_a_restart_is_between_a_second_and_five_minutes() {
    let field = |period: &str| format!("{HEAD}crashLoopBackOff: {{maxContainerRestartPeriod: {period}}}\n");
    for period in ["1s", "5m"] {
        assert!(read_well(&field(period)).crash_loop_back_off.is_some());
    }
    for period in ["0s", "999ms", "301s", "1h"] {
        let told = format!("3:47 crashLoopBackOff.maxContainerRestartPeriod: Invalid value: {period:?}: must be set between 1s and 300s");
        assert_eq!(wrong(&field(period)), [told]);
    }
    let default = read_well(&format!("{HEAD}crashLoopBackOff: {{}}\n"));
    assert_eq!(default.crash_loop_back_off, Some(CrashLoopBackOff::default()), "without a word the default holds");
}

#[test]
fn a_kernel_parameter_of_the_whole_machine_cannot_be_allowed() {
    let text = format!("{HEAD}allowedUnsafeSysctls: [net.*, vm.swappiness, \"*\"]\n");
    assert_eq!(
        wrong(&text),
        [
            "3:31 allowedUnsafeSysctls[1]: Invalid value: \"vm.swappiness\" is not known to be of a namespace of the pod's own: those are `net.*`, `kernel.shm*`, `kernel.msg*`, `kernel.sem` and `fs.mqueue.*`",
            "3:46 allowedUnsafeSysctls[2]: Invalid value: \"*\" is no name of a kernel parameter, and no beginning of one with a `*` at its end",
        ]
    );
}

#[test]
fn a_file_that_is_no_configuration_says_how_one_begins() {
    assert_eq!(
        wrong("apiVersion: v1\nkind: Pod\nmetadata: {name: a}\n"),
        ["2:7 no matches for kind \"Pod\" in version \"v1\" [write `kind: KubeletConfiguration`]"]
    );
    assert_eq!(
        wrong("apiVersion: kubelet.config.k8s.io/v1\nkind: KubeletConfiguration\n"),
        [
            "1:13 no matches for kind \"KubeletConfiguration\" in version \"kubelet.config.k8s.io/v1\" [write `apiVersion: kubelet.config.k8s.io/v1beta1`]"
        ]
    );
    assert_eq!(
        wrong("maxPods: 3\n"),
        [
            "1:1 apiVersion: Required value (begin the file with `apiVersion: kubelet.config.k8s.io/v1beta1`)",
            "1:1 kind: Required value (begin the file with `kind: KubeletConfiguration`)",
        ]
    );
    assert_eq!(
        wrong("# nothing\n"),
        [
            "there is no configuration in this file (it begins with `apiVersion: kubelet.config.k8s.io/v1beta1` and `kind: KubeletConfiguration`)"
        ]
    );
    assert_eq!(wrong(&format!("{HEAD}---\n{HEAD}")).len(), 1);
}
