use super::super::expression::{Expressions, Meta, Verdict};
use super::super::socket::Batch;
use super::super::wire::{NLM_F_APPEND, NLM_F_CREATE};
use super::*;
use crate::network::netns;

const NFPROTO_IPV4: u8 = 2;

fn add_chain(batch: &mut Batch, name: &str, hook: u32, policy: u32) {
    batch.push("add chain", 3, NFPROTO_IPV4, NLM_F_CREATE, |message| {
        message.text(NFTA_CHAIN_TABLE, "filter");
        message.text(NFTA_CHAIN_NAME, name);
        message.nest(NFTA_CHAIN_HOOK, |nested| {
            nested.u32(NFTA_HOOK_HOOKNUM, hook);
            nested.u32(2, 0);
        });
        message.u32(NFTA_CHAIN_POLICY, policy);
        message.text(7, "filter");
    });
}

fn add_rule(batch: &mut Batch, chain: &str, interface: &str) {
    batch.push("add rule", 6, NFPROTO_IPV4, NLM_F_CREATE | NLM_F_APPEND, |message| {
        message.text(NFTA_RULE_TABLE, "filter");
        message.text(2, chain);
        message.nest(4, |list| {
            Expressions::new(list).interface(Meta::InputInterface, interface).verdict(Verdict::Return);
        });
    });
}

/// What is told of a machine that has chains of three kinds, and a rule for `interface`.
fn told(test: &str, interface: &str) -> Option<Vec<String>> {
    let found = netns::inside_new(|| {
        let mut batch = Batch::new();
        batch.push("add table", 0, NFPROTO_IPV4, NLM_F_CREATE, |message| message.text(1, "filter"));
        add_chain(&mut batch, "INPUT", 1, POLICY_DROP);
        add_chain(&mut batch, "FORWARD", HOOK_FORWARD, POLICY_DROP);
        add_chain(&mut batch, "FORWARD-2", HOOK_FORWARD, 1);
        add_rule(&mut batch, "INPUT", interface);
        let nft = Nft::default();
        nft.with(|socket| socket.commit(batch))?;
        forward_drops(&nft, "usher0")
    });
    let found = found.inspect_err(|error| skip(test, error)).ok()?.expect("nf_tables works");
    Some(found.iter().map(ForwardDrop::to_string).collect())
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn skip(test: &str, why: &dyn std::error::Error) {
    eprintln!("SKIP {test}: {why}");
}

#[test]
fn only_chains_that_drop_what_is_forwarded_are_told() {
    let Some(told) = told("only_chains_that_drop_what_is_forwarded_are_told", "docker0") else { return };
    assert_eq!(told, ["chain FORWARD of table ip filter"]);
}

#[test]
fn a_table_that_knows_the_bridge_is_not_told() {
    let Some(told) = told("a_table_that_knows_the_bridge_is_not_told", "usher0") else { return };
    assert_eq!(told, Vec::<String>::new());
}

#[test]
fn the_cure_is_in_the_words_of_the_tool_that_made_the_chain() {
    let drop = |family, table: &str| ForwardDrop { family, table: table.to_owned(), chain: "FORWARD".to_owned() };
    assert!(drop("ip", "filter").is_iptables());
    assert!(!drop("inet", "filter").is_iptables());
    assert!(!drop("ip", "firewall").is_iptables());
}
