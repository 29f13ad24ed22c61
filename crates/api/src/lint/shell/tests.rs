use super::*;

fn script(text: &str) -> Script {
    let variables = [("DELAY".to_owned(), "20".to_owned())].into();
    Script::parse(text, &variables)
}

fn least(text: &str) -> (f64, bool) {
    let time = script(text).least_time();
    (time.seconds, time.endless)
}

#[test]
fn only_time_that_is_surely_spent_counts() {
    for (text, seconds) in [
        ("sleep 15", 15.0),
        ("sleep 15 && nginx -s quit", 15.0),
        ("echo a; sleep 1.5; /bin/sleep 2s", 3.5),
        ("sleep 1m", 60.0),
        ("sleep $DELAY", 20.0),
        ("sleep \"${DELAY}\"", 20.0),
        ("sleep ${OTHER:-7}", 7.0),
        ("sleep $UNKNOWN", 0.0),
        ("sleep $(cat /delay)", 0.0),
        ("sleep 5 & echo x", 0.0),
        ("a && sleep 5 &", 0.0),
        ("test -f x || sleep 5", 0.0),
        ("if test -f x; then sleep 5; fi", 0.0),
        ("while nc -z localhost 80; do sleep 1; done", 0.0),
        ("for i in 1 2 3; do sleep 1; done; sleep 2", 2.0),
        ("f() { sleep 9; }\nsleep 1", 1.0),
        ("exec sleep 4", 4.0),
        ("sleep 3 # sleep 30", 3.0),
        ("echo 'sleep 30'", 0.0),
        ("exit 0; sleep 30", 0.0),
        ("{ sleep 2; sleep 3; } > /dev/null 2>&1; sleep 1", 6.0),
        ("sleep 2>&1 5", 5.0),
        ("case $x in a) sleep 3;; esac; sleep 1", 1.0),
        ("sleep never", 0.0),
        ("cat <<EOF\nsleep 30\nEOF", 0.0),
    ] {
        assert_eq!(least(text), (seconds, false), "{text}");
    }
}

#[test]
fn what_never_ends_is_known() {
    for text in
        ["sleep infinity", "while true; do sleep 1; done", "while :\ndo\ndate\ndone", "until false; do x; done", "tail -f /dev/null"]
    {
        assert!(least(text).1, "{text}");
    }
    for text in ["while true; do test -f x && break; done", "while true; do x; done &", "sleep 5 || while true; do x; done", "tail -n 3 f"]
    {
        assert!(!least(text).1, "{text}");
    }
}

#[test]
fn command_lines_are_told_apart() {
    let words = |text: &str| text.split('|').map(str::to_owned).collect::<Vec<_>>();
    let argv = words("/bin/sh|-ec|sleep 5");
    assert_eq!(Command::of(&argv), Some(Command::Shell { shell: "sh", script: "sleep 5", index: 2 }));
    let argv = words("bash|-c|--|x");
    assert!(matches!(Command::of(&argv), Some(Command::Shell { script: "x", index: 3, .. })));
    let argv = words("busybox|sh|-c|x");
    assert!(matches!(Command::of(&argv), Some(Command::Shell { shell: "sh", index: 3, .. })));
    for argv in [words("sh|script.sh"), words("nginx|-c|/etc/nginx.conf"), words("/bin/sleep|5")] {
        assert!(matches!(Command::of(&argv), Some(Command::Program(_))), "{argv:?}");
    }
    assert_eq!(Command::of(&[]), None);
}

#[test]
fn any_text_is_survived() {
    for text in ["\"", "'", "$(", "${", "`", "((", "))", "done; fi; esac }", "while", "for x in", "case", "&&&&||", "<<", "> > >", "\\"] {
        let _ = script(text).least_time();
    }
}
