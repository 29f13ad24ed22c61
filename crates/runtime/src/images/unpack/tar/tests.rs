use std::process::{Command, Stdio};

use super::*;

#[test]
fn numbers_are_read_in_octal_and_in_base_256() {
    for (field, number) in [
        (&b"0000644\0"[..], Some(0o644)),
        (b"  644 \0\0", Some(0o644)),
        (b"\0\0\0\0\0\0\0\0", Some(0)),
        (b"00008\0\0\0", None),
        (b"\x80\0\0\0\0\0\x01\0", Some(256)),
        (b"\xff\xff\xff\xff\xff\xff\xff\xff", Some(-1)),
        (b"\x80\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff", None),
    ] {
        assert_eq!(parse_number(field), number, "{field:?}");
    }
}

#[test]
fn pax_times_count_nanoseconds_forward_also_before_1970() {
    for (text, time) in [
        ("1.5", Some(TarTime { secs: 1, nanos: 500_000_000 })),
        ("12", Some(TarTime { secs: 12, nanos: 0 })),
        ("-1.25", Some(TarTime { secs: -2, nanos: 750_000_000 })),
        ("-3", Some(TarTime { secs: -3, nanos: 0 })),
        ("1.0000000019", Some(TarTime { secs: 1, nanos: 1 })),
        ("1.x", None),
        ("", None),
    ] {
        assert_eq!(pax_time(text.as_bytes()), time, "{text}");
    }
}

#[test]
fn broken_streams_are_refused_with_their_place() {
    let good = gnu_tar(&["--format=gnu"]);
    let mut wrong_checksum = good.clone();
    wrong_checksum[0] ^= 1;
    let mut lone_zeros = vec![0; 512];
    lone_zeros.extend_from_slice(&good);
    let cut_header = &good[..100];
    let mut huge_name = good[..512].to_vec();
    huge_name[156] = b'L';
    huge_name[124..136].copy_from_slice(b"77777777777\0");
    set_checksum(&mut huge_name);
    huge_name.resize(4 * 1024 * 1024, b'a');
    for (stream, what) in [
        (&wrong_checksum[..], "not a valid tar archive at byte 0: the checksum of a header is wrong"),
        (&lone_zeros, "not a valid tar archive at byte 0: a lone block of zeros between entries"),
        (cut_header, "not a valid tar archive at byte 0: the archive ends within a header"),
        (&huge_name, "not a valid tar archive at byte 512: the headers of one entry are longer than 1 MiB"),
    ] {
        let error = TarReader::new(stream).next_entry().expect_err("a broken stream");
        assert_eq!(error.to_string(), what);
    }
}

#[test]
fn sparse_files_are_refused_with_the_cure() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let file = std::fs::File::create(directory.path().join("hole")).expect("a file");
    file.set_len(10 * 1024 * 1024).expect("a hole");
    for format in ["--format=gnu", "--format=posix"] {
        let output = Command::new("tar").args(["-cS", format, "-C"]).arg(directory.path()).arg("hole").output().expect("tar runs");
        let error = TarReader::new(output.stdout.as_slice()).next_entry().expect_err("a sparse file").to_string();
        assert!(error.contains("make the archive without --sparse"), "{error}");
    }
}

#[test]
fn raw_bytes_and_content_together_are_the_stream() {
    for format in ["--format=v7", "--format=ustar", "--format=gnu", "--format=posix"] {
        let stream = gnu_tar(&[format]);
        let mut reader = TarReader::new(stream.as_slice());
        let mut copy = Vec::new();
        let mut names = Vec::new();
        loop {
            let entry = reader.next_entry().expect("a valid stream");
            copy.extend_from_slice(reader.raw());
            let Some(entry) = entry else { break };
            names.push(String::from_utf8(entry.path).expect("a name"));
            while let len @ 1.. = reader.payload().expect("content").len() {
                copy.extend_from_slice(&reader.payload().expect("content")[..len.min(100)]);
                reader.consume(len.min(100));
            }
        }
        reader
            .drain(|bytes| {
                copy.extend_from_slice(bytes);
                Ok(())
            })
            .expect("the end");
        assert!(copy == stream, "{format}: the streams differ");
        assert_eq!(names.len(), if format == "--format=v7" { 2 } else { 4 }, "{format}: {names:?}");
    }
}

/// A small archive by GNU tar, with a name too long for the old header.
fn gnu_tar(args: &[&str]) -> Vec<u8> {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let long = directory.path().join("long-".repeat(18));
    std::fs::write(directory.path().join("a"), [7; 1000]).expect("a file");
    if !args.contains(&"--format=v7") {
        std::fs::create_dir(&long).expect("a directory");
        std::fs::write(long.join("name-".repeat(12)), "x").expect("a file");
    }
    let output = Command::new("tar")
        .args(args)
        .args(["-c", "-C"])
        .arg(directory.path())
        .arg(".")
        .stderr(Stdio::inherit())
        .output()
        .expect("tar runs");
    output.stdout
}

fn set_checksum(header: &mut [u8]) {
    header[148..156].copy_from_slice(b"        ");
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
}
