//! The steps that a rule is made of, as the kernel's virtual machine takes them.
//!
//! A rule is a list of expressions that load into registers, compare, and act; the rule ends at the first comparison that
//! fails. Sixteen registers of 4 bytes are used here, since keys and values of several fields lie in registers side by side.

use super::wire::Buffer;

/// `NFTA_LIST_ELEM`.
const LIST_ELEMENT: u16 = 1;
/// `NFTA_EXPR_NAME`.
const EXPRESSION_NAME: u16 = 1;
/// `NFTA_EXPR_DATA`.
const EXPRESSION_DATA: u16 = 2;
/// `NFTA_DATA_VALUE`.
pub(super) const DATA_VALUE: u16 = 1;
/// `NFTA_DATA_VERDICT`.
const DATA_VERDICT: u16 = 2;
/// `NFTA_VERDICT_CODE`.
const VERDICT_CODE: u16 = 1;
/// `NFTA_VERDICT_CHAIN`.
const VERDICT_CHAIN: u16 = 2;
/// `NFT_REG_VERDICT`.
const REGISTER_VERDICT: u32 = 0;
/// `NFT_REG32_00`, the first of the 4-byte registers.
const REGISTER_FIRST: u32 = 8;
/// Interface names fill this many bytes in a register.
const INTERFACE_NAME_LEN: usize = 16;

/// A 4-byte register, counted from 0.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Register(pub(super) u32);

impl Register {
    fn number(self) -> u32 {
        REGISTER_FIRST + self.0
    }
}

/// What `meta` can load, with the kernel's number for it.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum Meta {
    /// `NFT_META_IIFNAME`.
    InputInterface = 6,
    /// `NFT_META_OIFNAME`.
    OutputInterface = 7,
    /// `NFT_META_NFPROTO`.
    Family = 15,
    /// `NFT_META_L4PROTO`.
    Protocol = 16,
}

/// Where in a packet to load from, with the kernel's number for it.
#[derive(Debug, Clone, Copy)]
#[repr(u32)]
pub(super) enum Base {
    /// `NFT_PAYLOAD_NETWORK_HEADER`.
    Network = 1,
    /// `NFT_PAYLOAD_TRANSPORT_HEADER`.
    Transport = 2,
}

/// How to compare, with the kernel's number for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u32)]
pub(super) enum Compare {
    /// `NFT_CMP_EQ`.
    Equal = 0,
    /// `NFT_CMP_NEQ`.
    NotEqual = 1,
}

/// What becomes of the packet.
#[derive(Debug, Clone, Copy)]
pub(super) enum Verdict<'a> {
    /// `NF_DROP`.
    Drop,
    /// `NFT_RETURN`.
    Return,
    /// `NFT_JUMP`.
    Jump(&'a str),
}

/// The expressions of one rule, being written.
#[derive(Debug)]
pub(super) struct Expressions<'a> {
    buffer: &'a mut Buffer,
}

impl<'a> Expressions<'a> {
    pub(super) fn new(buffer: &'a mut Buffer) -> Self {
        Self { buffer }
    }

    /// Loads a property of the packet.
    pub(super) fn meta(&mut self, key: Meta, to: Register) -> &mut Self {
        self.expression("meta", |data| {
            data.u32(1, to.number());
            data.u32(2, key as u32);
        })
    }

    /// Loads `len` bytes of a header.
    pub(super) fn payload(&mut self, base: Base, offset: u32, len: u32, to: Register) -> &mut Self {
        self.expression("payload", |data| {
            data.u32(1, to.number());
            data.u32(2, base as u32);
            data.u32(3, offset);
            data.u32(4, len);
        })
    }

    /// Loads the status bits of the connection (`NFT_CT_STATUS`).
    pub(super) fn connection_status(&mut self, to: Register) -> &mut Self {
        self.expression("ct", |data| {
            data.u32(1, to.number());
            data.u32(2, 2);
        })
    }

    /// Loads what kind of address the destination is (`NFT_FIB_RESULT_ADDRTYPE` by `NFTA_FIB_F_DADDR`).
    pub(super) fn destination_kind(&mut self, to: Register) -> &mut Self {
        self.expression("fib", |data| {
            data.u32(1, to.number());
            data.u32(2, 3);
            data.u32(3, 2);
        })
    }

    /// Keeps the bits of `mask`.
    pub(super) fn mask(&mut self, register: Register, mask: &[u8]) -> &mut Self {
        self.expression("bitwise", |data| {
            data.u32(1, register.number());
            data.u32(2, register.number());
            data.u32(3, u32::try_from(mask.len()).expect("a mask fits the registers"));
            data.nest(4, |value| value.bytes(DATA_VALUE, mask));
            data.nest(5, |value| value.bytes(DATA_VALUE, &vec![0; mask.len()]));
        })
    }

    /// Ends the rule unless the comparison holds.
    pub(super) fn compare(&mut self, register: Register, how: Compare, value: &[u8]) -> &mut Self {
        self.expression("cmp", |data| {
            data.u32(1, register.number());
            data.u32(2, how as u32);
            data.nest(3, |nested| nested.bytes(DATA_VALUE, value));
        })
    }

    /// Ends the rule unless the interface has this name.
    pub(super) fn interface(&mut self, which: Meta, name: &str) -> &mut Self {
        let mut padded = [0; INTERFACE_NAME_LEN];
        padded[..name.len()].copy_from_slice(name.as_bytes());
        self.meta(which, Register(0)).compare(Register(0), Compare::Equal, &padded)
    }

    /// Looks the key up in a map, puts the value found, ends the rule if there is none.
    pub(super) fn lookup(&mut self, map: &str, map_id: u32, key: Register, to: Register) -> &mut Self {
        self.expression("lookup", |data| {
            data.text(1, map);
            data.u32(2, key.number());
            data.u32(3, to.number());
            data.u32(4, map_id);
        })
    }

    /// Sends the connection to the address and port in registers (`NFT_NAT_DNAT`).
    pub(super) fn destination_nat(&mut self, family: u8, address: Register, port: Register) -> &mut Self {
        self.expression("nat", |data| {
            data.u32(1, 1);
            data.u32(2, u32::from(family));
            data.u32(3, address.number());
            data.u32(5, port.number());
        })
    }

    /// Gives the connection the address of the interface it leaves by.
    pub(super) fn masquerade(&mut self) -> &mut Self {
        self.expression("masq", |_| {})
    }

    /// Ends the rule with a verdict.
    pub(super) fn verdict(&mut self, verdict: Verdict<'_>) -> &mut Self {
        let (code, chain): (i32, _) = match verdict {
            Verdict::Drop => (0, None),
            Verdict::Return => (-5, None),
            Verdict::Jump(chain) => (-3, Some(chain)),
        };
        self.expression("immediate", |data| {
            data.u32(1, REGISTER_VERDICT);
            data.nest(2, |value| {
                value.nest(DATA_VERDICT, |verdict| {
                    verdict.bytes(VERDICT_CODE, &code.to_be_bytes());
                    if let Some(chain) = chain {
                        verdict.text(VERDICT_CHAIN, chain);
                    }
                });
            });
        })
    }

    fn expression(&mut self, name: &str, fill: impl FnOnce(&mut Buffer)) -> &mut Self {
        self.buffer.nest(LIST_ELEMENT, |element| {
            element.text(EXPRESSION_NAME, name);
            element.nest(EXPRESSION_DATA, fill);
        });
        self
    }
}
