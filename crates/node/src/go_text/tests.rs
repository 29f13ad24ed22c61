use rustix::io::Errno;

use super::*;

#[test]
fn strings_are_quoted_as_go_quotes_them() {
    assert_eq!(quote("a\"b\\c\n\t\u{1b}ä"), "\"a\\\"b\\\\c\\n\\t\\x1bä\"");
}

#[test]
fn errors_of_the_system_are_told_in_gos_words() {
    let check = |errno: Errno, expected: &str| assert_eq!(io_error(&errno.into()), expected);
    check(Errno::CONNREFUSED, "connection refused");
    check(Errno::HOSTUNREACH, "no route to host");
    check(Errno::NETUNREACH, "network is unreachable");
    check(Errno::TIMEDOUT, "connection timed out");
    check(Errno::CONNRESET, "connection reset by peer");
    check(Errno::PIPE, "broken pipe");
    check(Errno::ACCESS, "permission denied");
    let address = "[fd00::5]:80".parse().expect("an address");
    assert_eq!(dial_error(address, &Errno::HOSTUNREACH.into()), "dial tcp [fd00::5]:80: connect: no route to host");
    let local = "10.0.0.1:1234".parse().expect("an address");
    let text = "read tcp 10.0.0.1:1234->[fd00::5]:80: read: connection reset by peer";
    assert_eq!(stream_error("read", local, address, &Errno::CONNRESET.into()), text);
}
