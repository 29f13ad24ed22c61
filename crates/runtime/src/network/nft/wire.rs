//! Netlink messages as bytes: written for requests, read for answers.
//!
//! Only the framing is here (headers, attributes, nesting, padding); what the numbers mean is for the callers. A message is
//! a 16-byte header in the machine's byte order, then attributes of 4-byte alignment; nf_tables writes numbers inside
//! attributes in network order.

/// Length of `struct nlmsghdr`, in bytes.
const HEADER_LEN: usize = 16;
/// Length of `struct nfgenmsg`, the header that netfilter adds, in bytes.
const GENMSG_LEN: usize = 4;
/// Length of `struct nlattr`, in bytes.
const ATTRIBUTE_HEADER_LEN: usize = 4;
/// Attributes and messages begin at multiples of this, in bytes.
const ALIGNMENT: usize = 4;
/// Flag of an attribute that holds attributes.
const NESTED: u16 = 1 << 15;
/// The bits of an attribute's type that are its number.
const TYPE_MASK: u16 = 0x3fff;
/// The answer that carries an error number, zero for success.
const NLMSG_ERROR: u16 = 2;
/// The end of a list.
const NLMSG_DONE: u16 = 3;

/// Flag: this is a request.
pub(super) const NLM_F_REQUEST: u16 = 1;
/// Flag: answer even if all is well.
pub(super) const NLM_F_ACK: u16 = 4;
/// Flag of a read: everything there is.
pub(super) const NLM_F_DUMP: u16 = 0x300;
/// Flag of a write: make it if it is not there.
pub(super) const NLM_F_CREATE: u16 = 0x400;
/// Flag of a write: at the end of the list.
pub(super) const NLM_F_APPEND: u16 = 0x800;

/// Header of a netfilter message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Header {
    /// Subsystem in the upper byte, message in the lower.
    pub(super) kind: u16,
    /// `NLM_F_*`; [`NLM_F_REQUEST`] is added.
    pub(super) flags: u16,
    /// Comes back in the answer.
    pub(super) sequence: u32,
    /// `NFPROTO_*`.
    pub(super) family: u8,
    /// Meaning depends on the message.
    pub(super) resource: u16,
}

/// Messages in one piece, as they go to the kernel.
#[derive(Debug, Default, Clone, PartialEq, Eq)]
pub(super) struct Buffer {
    bytes: Vec<u8>,
}

impl Buffer {
    /// Appends a message whose attributes `fill` writes.
    pub(super) fn message(&mut self, header: Header, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.bytes.extend(header.kind.to_ne_bytes());
        self.bytes.extend((header.flags | NLM_F_REQUEST).to_ne_bytes());
        self.bytes.extend(header.sequence.to_ne_bytes());
        self.bytes.extend([0; 4]);
        self.bytes.extend([header.family, 0]);
        self.bytes.extend(header.resource.to_be_bytes());
        fill(self);
        let len = u32::try_from(self.bytes.len() - start).expect("messages are bounded far below 4 GB");
        self.bytes[start..start + 4].copy_from_slice(&len.to_ne_bytes());
    }

    /// Appends an attribute of raw bytes, at most 64 kB.
    pub(super) fn bytes(&mut self, kind: u16, value: &[u8]) {
        self.attribute(kind, |buffer| buffer.bytes.extend(value));
    }

    /// Appends a number in network order.
    pub(super) fn u32(&mut self, kind: u16, value: u32) {
        self.bytes(kind, &value.to_be_bytes());
    }

    /// Appends a text with the zero that the kernel wants at its end.
    pub(super) fn text(&mut self, kind: u16, value: &str) {
        self.attribute(kind, |buffer| {
            buffer.bytes.extend(value.as_bytes());
            buffer.bytes.push(0);
        });
    }

    /// Appends an attribute that holds the attributes that `fill` writes.
    pub(super) fn nest(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        self.attribute(kind | NESTED, fill);
    }

    /// Appends attributes as the kernel gave them.
    pub(super) fn raw(&mut self, attributes: &[u8]) {
        self.bytes.extend(attributes);
    }

    /// What was written.
    pub(super) fn as_bytes(&self) -> &[u8] {
        &self.bytes
    }

    fn attribute(&mut self, kind: u16, fill: impl FnOnce(&mut Self)) {
        let start = self.bytes.len();
        self.bytes.extend([0; 2]);
        self.bytes.extend(kind.to_ne_bytes());
        fill(self);
        let len = u16::try_from(self.bytes.len() - start).expect("callers split what does not fit one attribute");
        self.bytes[start..start + 2].copy_from_slice(&len.to_ne_bytes());
        self.bytes.resize(self.bytes.len().next_multiple_of(ALIGNMENT), 0);
    }
}

/// One message of an answer.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Answer<'a> {
    /// The request with this sequence number failed with this error number, or is done if that is zero.
    Status { sequence: u32, errno: i32 },
    /// The list is at its end.
    Done,
    /// An object, and the netfilter family it belongs to.
    Object { family: u8, attributes: &'a [u8] },
}

/// Takes an answer apart; ends at the first message that is cut short.
pub(super) fn answers(mut bytes: &[u8]) -> impl Iterator<Item = Answer<'_>> {
    std::iter::from_fn(move || {
        let len = usize::try_from(u32::from_ne_bytes(array(bytes, 0)?)).ok()?;
        let message = bytes.get(..len).filter(|message| message.len() >= HEADER_LEN)?;
        bytes = bytes.get(len.next_multiple_of(ALIGNMENT)..).unwrap_or_default();
        let kind = u16::from_ne_bytes(array(message, 4)?);
        let sequence = u32::from_ne_bytes(array(message, 8)?);
        let body = &message[HEADER_LEN..];
        match kind {
            NLMSG_ERROR => Some(Answer::Status { sequence, errno: -i32::from_ne_bytes(array(body, 0)?) }),
            NLMSG_DONE => Some(Answer::Done),
            _ => Some(Answer::Object { family: *body.first()?, attributes: body.get(GENMSG_LEN..)? }),
        }
    })
}

/// The value of the first attribute of this kind.
pub(super) fn find(mut attributes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let len = usize::from(u16::from_ne_bytes(array(attributes, 0)?));
        let kind = u16::from_ne_bytes(array(attributes, 2)?);
        let value = attributes.get(ATTRIBUTE_HEADER_LEN..len)?;
        if kind & TYPE_MASK == wanted {
            return Some(value);
        }
        attributes = attributes.get(len.next_multiple_of(ALIGNMENT)..)?;
    }
}

/// A number in network order.
pub(super) fn find_u32(attributes: &[u8], wanted: u16) -> Option<u32> {
    Some(u32::from_be_bytes(find(attributes, wanted)?.try_into().ok()?))
}

/// A short number in network order.
pub(super) fn find_u16(attributes: &[u8], wanted: u16) -> Option<u16> {
    Some(u16::from_be_bytes(find(attributes, wanted)?.try_into().ok()?))
}

/// A text, without the zero at its end.
pub(super) fn find_text(attributes: &[u8], wanted: u16) -> Option<String> {
    let value = find(attributes, wanted)?;
    let text = value.strip_suffix(&[0]).unwrap_or(value);
    Some(String::from_utf8_lossy(text).into_owned())
}

fn array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at + N)?.try_into().ok()
}

#[cfg(test)]
mod tests;
