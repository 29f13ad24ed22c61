use super::*;

#[test]
fn a_kernel_without_what_is_needed_is_told_apart_from_one_that_fails() {
    let told = |step: &str, errno| {
        let error = NftError::new(step, errno);
        (error.to_string(), error.is_unsupported())
    };
    assert_eq!(told("open a socket", Errno::PROTONOSUPPORT), ("this kernel has no nf_tables".to_owned(), true));
    assert_eq!(told(OPEN_BATCH, Errno::OPNOTSUPP), ("this kernel has no nf_tables".to_owned(), true));
    let expected = "this kernel's nf_tables cannot find packets to the node by fib";
    assert_eq!(told("find packets to the node by fib", Errno::NOENT), (expected.to_owned(), true));
    assert_eq!(told("add chain guard", Errno::BUSY), ("nf_tables failed to add chain guard".to_owned(), false));
    assert_eq!(told(OPEN_BATCH, Errno::PERM), ("not permitted to change nf_tables rules".to_owned(), false));
}

#[test]
fn after_an_error_the_next_use_has_no_late_answers() {
    let name = "after_an_error_the_next_use_has_no_late_answers";
    let done = crate::network::netns::inside_new(|| {
        let nft = Nft::default();
        let add = |table: &'static str, times: usize| {
            let mut batch = Batch::new();
            for _ in 0..times {
                // NLM_F_EXCL: the second of the same name is refused.
                batch.push(format!("add {table}"), 0, 1, 0x600, |message| message.text(1, table));
            }
            nft.with(|socket| socket.commit(batch))
        };
        assert_eq!(add("twice", 3).expect_err("refused").to_string(), "nf_tables failed to add twice");
        add("once", 1).expect("a fresh start");
        assert_eq!(add("once", 1).expect_err("it is there").to_string(), "nf_tables failed to add once");
    });
    done.unwrap_or_else(|error| skip(name, &error));
}

#[expect(clippy::print_stderr, reason = "a skipped test says why")]
fn skip(test: &str, why: &dyn std::error::Error) {
    eprintln!("SKIP {test}: {why}");
}
