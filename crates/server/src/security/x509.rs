//! The few things that must be known of a certificate that was checked already: whose it is, and until when.
//!
//! Not a check of certificates; `rustls` does that.

/// One element of DER and what follows it.
struct Element<'a> {
    tag: u8,
    content: &'a [u8],
    rest: &'a [u8],
}

const SEQUENCE: u8 = 0x30;
const EXPLICIT_VERSION: u8 = 0xa0;
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];
const ORGANIZATION: &[u8] = &[0x55, 0x04, 0x0a];

/// What is known of a certificate.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Subject {
    /// The common name.
    pub(super) name: String,
    /// The organizations.
    pub(super) organizations: Vec<String>,
    /// The end of its validity, as it stands there: `YYMMDDHHMMSSZ` or with four digits for the year.
    pub(super) not_after: String,
}

/// Reads the subject and the end of validity.
pub(super) fn subject(der: &[u8]) -> Option<Subject> {
    let certificate = element(der).filter(|element| element.tag == SEQUENCE)?;
    let mut rest = element(certificate.content)?.content;
    let first = element(rest)?;
    if first.tag == EXPLICIT_VERSION {
        rest = first.rest;
    }
    // Serial number, algorithm, issuer.
    for _ in 0..3 {
        rest = element(rest)?.rest;
    }
    let validity = element(rest)?;
    let not_after = element(element(validity.content)?.rest)?;
    let names = element(validity.rest)?;
    let mut subject = Subject { not_after: String::from_utf8(not_after.content.to_vec()).ok()?, ..Subject::default() };
    let mut sets = names.content;
    while !sets.is_empty() {
        let set = element(sets)?;
        sets = set.rest;
        let pair = element(set.content)?;
        let oid = element(pair.content)?;
        let text = String::from_utf8(element(oid.rest)?.content.to_vec()).ok()?;
        match oid.content {
            COMMON_NAME => subject.name = text,
            ORGANIZATION => subject.organizations.push(text),
            _ => {}
        }
    }
    Some(subject)
}

fn element(bytes: &[u8]) -> Option<Element<'_>> {
    let [tag, length, rest @ ..] = bytes else { return None };
    let (length, rest) = match length {
        short if *short < 0x80 => (usize::from(*short), rest),
        long => {
            let count = usize::from(long & 0x7f);
            if count == 0 || count > 4 {
                return None;
            }
            let (digits, rest) = rest.split_at_checked(count)?;
            (digits.iter().fold(0, |length, digit| length << 8 | usize::from(*digit)), rest)
        }
    };
    let (content, rest) = rest.split_at_checked(length)?;
    Some(Element { tag: *tag, content, rest })
}
