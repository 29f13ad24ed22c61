use super::*;
use crate::eviction::manager::Observation;
use crate::eviction::threshold::Threshold;

fn shortage(signal: Signal, level: Level, available: u64) -> Shortage {
    let threshold = Threshold { signal, level, reclaim: None, grace: None };
    Shortage { threshold, observation: Observation { available, capacity: 1000 << 20 } }
}

// k8s: 8.a.18
#[test]
fn the_message_names_what_is_short_and_who_used_more_than_it_asked_for() {
    let level = Level::Amount { units: 100 << 20, text: "100Mi".to_owned() };
    let use_of = |name: &str, usage, request: u64, request_text: &str| ContainerUse {
        name: name.to_owned(),
        usage,
        request,
        request_text: request_text.to_owned(),
    };
    let containers = [use_of("eater", 3 << 20, 1 << 20, "1Mi"), use_of("modest", 1 << 20, 1 << 20, "1Mi"), use_of("free", 1 << 10, 0, "0")];
    let message = eviction_message(&shortage(Signal::MemoryAvailable, level, (80 << 20) + 1024), &containers);
    let wanted = "The node was low on resource: memory. Threshold quantity: 100Mi, available: 81921Ki. \
                  Container eater was using 3Mi, request is 1Mi, has larger consumption of memory. \
                  Container free was using 1Ki, request is 0, has larger consumption of memory. ";
    assert_eq!(message, wanted);
}

#[test]
fn parts_are_told_as_quantities_and_inodes_in_tens() {
    let disk = shortage(Signal::NodeFsAvailable, Level::Part(0.5), 1 << 20);
    assert_eq!(shortage_text(&disk), "nodefs.available is 1Mi, under its threshold of 500Mi");
    let inodes = shortage(Signal::NodeFsInodesFree, Level::Amount { units: 5000, text: "5k".to_owned() }, 3000);
    assert_eq!(eviction_message(&inodes, &[]), "The node was low on resource: inodes. Threshold quantity: 5k, available: 3k. ");
}
