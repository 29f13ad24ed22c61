//! The kernel's side of nf_tables: one socket, two kinds of talk.
//!
//! A *batch* changes rules: all of it or nothing. A *dump* reads. The kernel answers inside the call that asks, so nothing
//! here waits. The socket belongs to the network namespace of the thread that opened it.

use std::io;
use std::sync::{Mutex, PoisonError};

use rustix::fd::OwnedFd;
use rustix::io::Errno;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};

use super::wire::{Answer, Buffer, Header, NLM_F_ACK, NLM_F_DUMP, answers};

/// `NFNL_SUBSYS_NFTABLES`.
pub(super) const SUBSYSTEM: u8 = 10;
/// `NFNL_MSG_BATCH_BEGIN`.
const BATCH_BEGIN: u16 = 16;
/// `NFNL_MSG_BATCH_END`.
const BATCH_END: u16 = 17;
/// The kernel's answers come in pages of at most this many bytes.
const ANSWER_LEN_MAX: usize = 32 * 1024;
/// A batch gets one answer for each message; a dump, one for each page: this many hold all connections that a kernel remembers.
const ANSWERS_MAX: usize = 65_536;

/// Why the kernel did not do what was asked.
#[derive(Debug, thiserror::Error)]
pub enum NftError {
    /// There is no nf_tables in this kernel.
    #[error("this kernel has no nf_tables")]
    Unsupported {
        /// What the system said.
        source: io::Error,
    },
    /// One kind of rule is not in this kernel.
    #[error("this kernel's nf_tables cannot {step}")]
    PartUnsupported {
        /// What was tried.
        step: String,
        /// What the system said.
        source: io::Error,
    },
    /// `CAP_NET_ADMIN` is missing.
    #[error("not permitted to change nf_tables rules")]
    NotPermitted,
    /// Anything else.
    #[error("nf_tables failed to {step}")]
    Failed {
        /// What was tried.
        step: String,
        /// What the system said.
        source: io::Error,
    },
}

impl NftError {
    fn new(step: &str, errno: Errno) -> Self {
        let (step, source) = (step.to_owned(), io::Error::from(errno));
        match errno {
            Errno::PERM | Errno::ACCESS => Self::NotPermitted,
            Errno::PROTONOSUPPORT | Errno::AFNOSUPPORT => Self::Unsupported { source },
            Errno::OPNOTSUPP if step == OPEN_BATCH => Self::Unsupported { source },
            Errno::OPNOTSUPP | Errno::NOENT => Self::PartUnsupported { step, source },
            _ => Self::Failed { step, source },
        }
    }

    /// Whether the kernel is built without what was needed, so that trying again is of no use.
    pub(in crate::network) fn is_unsupported(&self) -> bool {
        matches!(self, Self::Unsupported { .. } | Self::PartUnsupported { .. })
    }
}

const OPEN_BATCH: &str = "open a batch";

/// Changes that are made together.
#[derive(Debug)]
pub(super) struct Batch {
    buffer: Buffer,
    /// What each message does, for errors; the place in this list is the sequence number.
    steps: Vec<String>,
}

impl Batch {
    pub(super) fn new() -> Self {
        let mut batch = Self { buffer: Buffer::default(), steps: vec![OPEN_BATCH.to_owned()] };
        batch.buffer.message(batch_header(BATCH_BEGIN, 0), |_| {});
        batch
    }

    /// Appends a message; `step` completes the sentence "nf_tables failed to ...".
    pub(super) fn push(&mut self, step: impl Into<String>, kind: u8, family: u8, flags: u16, fill: impl FnOnce(&mut Buffer)) {
        let sequence = self.next_sequence();
        let kind = kind_of(SUBSYSTEM, kind);
        self.buffer.message(Header { kind, flags: flags | NLM_F_ACK, sequence, family, resource: 0 }, fill);
        self.steps.push(step.into());
    }

    fn next_sequence(&self) -> u32 {
        u32::try_from(self.steps.len()).expect("a batch has far fewer than 2^32 messages")
    }
}

/// A socket to nf_tables that is kept: to close one takes the kernel until everything that was deleted through it is out of the
/// way of all packets, some 15 ms.
#[derive(Debug, Default)]
pub(in crate::network) struct Nft {
    socket: Mutex<Option<NftSocket>>,
}

impl Nft {
    /// Uses the socket. After an error the next use gets a new one, so that no late answer is taken for another's.
    pub(super) fn with<T>(&self, work: impl FnOnce(&NftSocket) -> Result<T, NftError>) -> Result<T, NftError> {
        let mut kept = self.socket.lock().unwrap_or_else(PoisonError::into_inner);
        let socket = match kept.take() {
            Some(socket) => socket,
            None => NftSocket::open()?,
        };
        let done = work(&socket)?;
        *kept = Some(socket);
        Ok(done)
    }
}

/// A socket to nf_tables of the network namespace of the thread that opened it.
#[derive(Debug)]
pub(super) struct NftSocket {
    socket: OwnedFd,
}

impl NftSocket {
    fn open() -> Result<Self, NftError> {
        let socket = socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::NETFILTER))
            .map_err(|errno| NftError::new("open a socket", errno))?;
        Ok(Self { socket })
    }

    /// Makes all changes of the batch, or none.
    pub(super) fn commit(&self, mut batch: Batch) -> Result<(), NftError> {
        let end = batch.next_sequence();
        batch.buffer.message(batch_header(BATCH_END, end), |_| {});
        self.send(&batch.buffer).map_err(|errno| NftError::new("send a batch", errno))?;
        // Every message is answered, in order, and a refused batch is answered at its beginning and nowhere else.
        let mut page = vec![0; ANSWER_LEN_MAX];
        let mut failed = None;
        for _ in 0..ANSWERS_MAX {
            let len = self.receive(&mut page).map_err(|errno| NftError::new("confirm a batch", errno))?;
            for answer in answers(&page[..len]) {
                let Answer::Status { sequence, errno } = answer else {
                    continue;
                };
                let step = usize::try_from(sequence).ok().and_then(|at| batch.steps.get(at));
                if let (Some(step), true) = (step, errno != 0) {
                    failed.get_or_insert_with(|| NftError::new(step, Errno::from_raw_os_error(errno)));
                }
                if sequence == 0 || sequence + 1 == end {
                    return failed.map_or(Ok(()), Err);
                }
            }
        }
        Err(NftError::new("confirm a batch", Errno::NOBUFS))
    }

    /// Asks for objects, or does something with one: `fill` names it. What is not there (`ENOENT`) is an empty list.
    pub(super) fn read<T>(
        &self,
        step: &str,
        request: ReadRequest,
        fill: impl FnOnce(&mut Buffer),
        parse: impl Fn(u8, &[u8]) -> Option<T>,
    ) -> Result<Vec<T>, NftError> {
        let error = |errno| NftError::new(step, errno);
        let flags = if request.all { NLM_F_DUMP } else { NLM_F_ACK };
        let kind = kind_of(request.subsystem, request.kind);
        let mut buffer = Buffer::default();
        buffer.message(Header { kind, flags, sequence: 1, family: request.family, resource: 0 }, fill);
        self.send(&buffer).map_err(error)?;

        let mut page = vec![0; ANSWER_LEN_MAX];
        let mut objects = Vec::new();
        for _ in 0..ANSWERS_MAX {
            let len = self.receive(&mut page).map_err(error)?;
            for answer in answers(&page[..len]) {
                match answer {
                    Answer::Done | Answer::Status { errno: 0, .. } => return Ok(objects),
                    Answer::Status { errno, .. } => match Errno::from_raw_os_error(errno) {
                        Errno::NOENT => return Ok(objects),
                        errno => return Err(error(errno)),
                    },
                    Answer::Object { family, attributes } => objects.extend(parse(family, attributes)),
                }
            }
        }
        Err(error(Errno::NOBUFS))
    }

    fn send(&self, buffer: &Buffer) -> rustix::io::Result<()> {
        let kernel = SocketAddrNetlink::new(0, 0);
        sendto(&self.socket, buffer.as_bytes(), SendFlags::empty(), &kernel).map(drop)
    }

    fn receive(&self, page: &mut [u8]) -> rustix::io::Result<usize> {
        recv(&self.socket, page, RecvFlags::DONTWAIT).map(|(len, _)| len)
    }
}

/// What to ask for.
#[derive(Debug, Clone, Copy)]
pub(super) struct ReadRequest {
    /// `NFNL_SUBSYS_*`.
    pub(super) subsystem: u8,
    /// The message, by the subsystem's number.
    pub(super) kind: u8,
    /// `NFPROTO_*`; 0 for all.
    pub(super) family: u8,
    /// Everything, not one object.
    pub(super) all: bool,
}

fn batch_header(kind: u16, sequence: u32) -> Header {
    Header { kind, flags: 0, sequence, family: 0, resource: u16::from(SUBSYSTEM) }
}

fn kind_of(subsystem: u8, message: u8) -> u16 {
    u16::from_be_bytes([subsystem, message])
}

#[cfg(test)]
mod tests;
