//! Error types and codes of `OFPT_ERROR` (OpenFlow 1.3.5 §7.4.4).

use std::fmt;

use crate::bundle::ONF;

/// An error as it is told to the peer: type and code.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ErrorCode {
    /// `ofp_error_type`.
    pub kind: u16,
    /// Code within the type.
    pub code: u16,
}

/// An error message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ErrorMessage {
    /// What is wrong; for an experimenter's error the type is [`ErrorCode::EXPERIMENTER`] and
    /// the code is theirs.
    pub code: ErrorCode,
    /// Whose error it is, if it is an experimenter's.
    pub experimenter: Option<u32>,
    /// The request, or its beginning; text for a failed hello.
    pub data: Vec<u8>,
}

impl ErrorCode {
    /// Type of errors of experimenters (`OFPET_EXPERIMENTER`). Those named here are the ONF's, or
    /// Nicira's where [`NICIRA_CODES`] says so.
    pub const EXPERIMENTER: u16 = 0xffff;

    /// The message that tells of this error; `data` is the beginning of what it is about.
    pub fn message(self, data: Vec<u8>) -> ErrorMessage {
        ErrorMessage {
            code: self,
            experimenter: self.experimenter(),
            data,
        }
    }

    /// Whose it is, if it is an experimenter's.
    fn experimenter(self) -> Option<u32> {
        match self {
            ErrorCode { kind, .. } if kind != ErrorCode::EXPERIMENTER => None,
            ErrorCode { code, .. } if NICIRA_CODES.contains(&code) => Some(NICIRA),
            _ => Some(ONF),
        }
    }
}

/// `NX_EXPERIMENTER_ID`: the ONF's flow monitors came from Nicira's, and so do their errors.
const NICIRA: u32 = 0x0000_2320;
/// Codes of experimenters' errors that are Nicira's.
pub const NICIRA_CODES: std::ops::RangeInclusive<u16> = 4..=38;

macro_rules! codes {
    ($($name:ident = $kind:literal, $code:literal;)*) => {
        #[allow(missing_docs)]
        impl ErrorCode {
            $(pub const $name: ErrorCode = ErrorCode { kind: $kind, code: $code };)*

            /// Every code of the specification.
            pub const ALL: &[ErrorCode] = &[$(ErrorCode::$name,)*];

            /// Name in the specification without `OFP`, if it is one of the known ones.
            pub fn name(self) -> Option<&'static str> {
                match (self.kind, self.code) {
                    $(($kind, $code) => Some(stringify!($name)),)*
                    _ => None,
                }
            }
        }
    };
}

codes! {
    HELLO_FAILED_INCOMPATIBLE = 0, 0;
    HELLO_FAILED_EPERM = 0, 1;
    BAD_REQUEST_BAD_VERSION = 1, 0;
    BAD_REQUEST_BAD_TYPE = 1, 1;
    BAD_REQUEST_BAD_MULTIPART = 1, 2;
    BAD_REQUEST_BAD_EXPERIMENTER = 1, 3;
    BAD_REQUEST_BAD_EXP_TYPE = 1, 4;
    BAD_REQUEST_EPERM = 1, 5;
    BAD_REQUEST_BAD_LEN = 1, 6;
    BAD_REQUEST_BUFFER_EMPTY = 1, 7;
    BAD_REQUEST_BUFFER_UNKNOWN = 1, 8;
    BAD_REQUEST_BAD_TABLE_ID = 1, 9;
    BAD_REQUEST_IS_SLAVE = 1, 10;
    BAD_REQUEST_BAD_PORT = 1, 11;
    BAD_REQUEST_BAD_PACKET = 1, 12;
    BAD_REQUEST_MULTIPART_BUFFER_OVERFLOW = 1, 13;
    BAD_ACTION_BAD_TYPE = 2, 0;
    BAD_ACTION_BAD_LEN = 2, 1;
    BAD_ACTION_BAD_EXPERIMENTER = 2, 2;
    BAD_ACTION_BAD_EXP_TYPE = 2, 3;
    BAD_ACTION_BAD_OUT_PORT = 2, 4;
    BAD_ACTION_BAD_ARGUMENT = 2, 5;
    BAD_ACTION_EPERM = 2, 6;
    BAD_ACTION_TOO_MANY = 2, 7;
    BAD_ACTION_BAD_QUEUE = 2, 8;
    BAD_ACTION_BAD_OUT_GROUP = 2, 9;
    BAD_ACTION_MATCH_INCONSISTENT = 2, 10;
    BAD_ACTION_UNSUPPORTED_ORDER = 2, 11;
    BAD_ACTION_BAD_TAG = 2, 12;
    BAD_ACTION_BAD_SET_TYPE = 2, 13;
    BAD_ACTION_BAD_SET_LEN = 2, 14;
    BAD_ACTION_BAD_SET_ARGUMENT = 2, 15;
    BAD_INSTRUCTION_UNKNOWN_INST = 3, 0;
    BAD_INSTRUCTION_UNSUP_INST = 3, 1;
    BAD_INSTRUCTION_BAD_TABLE_ID = 3, 2;
    BAD_INSTRUCTION_UNSUP_METADATA = 3, 3;
    BAD_INSTRUCTION_UNSUP_METADATA_MASK = 3, 4;
    BAD_INSTRUCTION_BAD_EXPERIMENTER = 3, 5;
    BAD_INSTRUCTION_BAD_EXP_TYPE = 3, 6;
    BAD_INSTRUCTION_BAD_LEN = 3, 7;
    BAD_INSTRUCTION_EPERM = 3, 8;
    BAD_INSTRUCTION_DUP_INST = 3, 9;
    BAD_MATCH_BAD_TYPE = 4, 0;
    BAD_MATCH_BAD_LEN = 4, 1;
    BAD_MATCH_BAD_TAG = 4, 2;
    BAD_MATCH_BAD_DL_ADDR_MASK = 4, 3;
    BAD_MATCH_BAD_NW_ADDR_MASK = 4, 4;
    BAD_MATCH_BAD_WILDCARDS = 4, 5;
    BAD_MATCH_BAD_FIELD = 4, 6;
    BAD_MATCH_BAD_VALUE = 4, 7;
    BAD_MATCH_BAD_MASK = 4, 8;
    BAD_MATCH_BAD_PREREQ = 4, 9;
    BAD_MATCH_DUP_FIELD = 4, 10;
    BAD_MATCH_EPERM = 4, 11;
    FLOW_MOD_FAILED_UNKNOWN = 5, 0;
    FLOW_MOD_FAILED_TABLE_FULL = 5, 1;
    FLOW_MOD_FAILED_BAD_TABLE_ID = 5, 2;
    FLOW_MOD_FAILED_OVERLAP = 5, 3;
    FLOW_MOD_FAILED_EPERM = 5, 4;
    FLOW_MOD_FAILED_BAD_TIMEOUT = 5, 5;
    FLOW_MOD_FAILED_BAD_COMMAND = 5, 6;
    FLOW_MOD_FAILED_BAD_FLAGS = 5, 7;
    GROUP_MOD_FAILED_GROUP_EXISTS = 6, 0;
    GROUP_MOD_FAILED_INVALID_GROUP = 6, 1;
    GROUP_MOD_FAILED_WEIGHT_UNSUPPORTED = 6, 2;
    GROUP_MOD_FAILED_OUT_OF_GROUPS = 6, 3;
    GROUP_MOD_FAILED_OUT_OF_BUCKETS = 6, 4;
    GROUP_MOD_FAILED_CHAINING_UNSUPPORTED = 6, 5;
    GROUP_MOD_FAILED_WATCH_UNSUPPORTED = 6, 6;
    GROUP_MOD_FAILED_LOOP = 6, 7;
    GROUP_MOD_FAILED_UNKNOWN_GROUP = 6, 8;
    GROUP_MOD_FAILED_CHAINED_GROUP = 6, 9;
    GROUP_MOD_FAILED_BAD_TYPE = 6, 10;
    GROUP_MOD_FAILED_BAD_COMMAND = 6, 11;
    GROUP_MOD_FAILED_BAD_BUCKET = 6, 12;
    GROUP_MOD_FAILED_BAD_WATCH = 6, 13;
    GROUP_MOD_FAILED_EPERM = 6, 14;
    PORT_MOD_FAILED_BAD_PORT = 7, 0;
    PORT_MOD_FAILED_BAD_HW_ADDR = 7, 1;
    PORT_MOD_FAILED_BAD_CONFIG = 7, 2;
    PORT_MOD_FAILED_BAD_ADVERTISE = 7, 3;
    PORT_MOD_FAILED_EPERM = 7, 4;
    TABLE_MOD_FAILED_BAD_TABLE = 8, 0;
    TABLE_MOD_FAILED_BAD_CONFIG = 8, 1;
    TABLE_MOD_FAILED_EPERM = 8, 2;
    QUEUE_OP_FAILED_BAD_PORT = 9, 0;
    QUEUE_OP_FAILED_BAD_QUEUE = 9, 1;
    QUEUE_OP_FAILED_EPERM = 9, 2;
    SWITCH_CONFIG_FAILED_BAD_FLAGS = 10, 0;
    SWITCH_CONFIG_FAILED_BAD_LEN = 10, 1;
    SWITCH_CONFIG_FAILED_EPERM = 10, 2;
    ROLE_REQUEST_FAILED_STALE = 11, 0;
    ROLE_REQUEST_FAILED_UNSUP = 11, 1;
    ROLE_REQUEST_FAILED_BAD_ROLE = 11, 2;
    METER_MOD_FAILED_UNKNOWN = 12, 0;
    METER_MOD_FAILED_METER_EXISTS = 12, 1;
    METER_MOD_FAILED_INVALID_METER = 12, 2;
    METER_MOD_FAILED_UNKNOWN_METER = 12, 3;
    METER_MOD_FAILED_BAD_COMMAND = 12, 4;
    METER_MOD_FAILED_BAD_FLAGS = 12, 5;
    METER_MOD_FAILED_BAD_RATE = 12, 6;
    METER_MOD_FAILED_BAD_BURST = 12, 7;
    METER_MOD_FAILED_BAD_BAND = 12, 8;
    METER_MOD_FAILED_BAD_BAND_VALUE = 12, 9;
    METER_MOD_FAILED_OUT_OF_METERS = 12, 10;
    METER_MOD_FAILED_OUT_OF_BANDS = 12, 11;
    TABLE_FEATURES_FAILED_BAD_TABLE = 13, 0;
    TABLE_FEATURES_FAILED_BAD_METADATA = 13, 1;
    TABLE_FEATURES_FAILED_BAD_TYPE = 13, 2;
    TABLE_FEATURES_FAILED_BAD_LEN = 13, 3;
    TABLE_FEATURES_FAILED_BAD_ARGUMENT = 13, 4;
    TABLE_FEATURES_FAILED_EPERM = 13, 5;
    MONITOR_FAILED_MUST_BE_ZERO = 0xffff, 4;
    MONITOR_FAILED_MONITOR_EXISTS = 0xffff, 6;
    MONITOR_FAILED_BAD_FLAGS = 0xffff, 7;
    MONITOR_FAILED_UNKNOWN_MONITOR = 0xffff, 8;
    TLV_TABLE_MOD_FAILED_BAD_COMMAND = 0xffff, 16;
    TLV_TABLE_MOD_FAILED_BAD_OPT_LEN = 0xffff, 17;
    TLV_TABLE_MOD_FAILED_BAD_FIELD_IDX = 0xffff, 18;
    TLV_TABLE_MOD_FAILED_TABLE_FULL = 0xffff, 19;
    TLV_TABLE_MOD_FAILED_ALREADY_MAPPED = 0xffff, 20;
    TLV_TABLE_MOD_FAILED_DUP_ENTRY = 0xffff, 21;
    RESUME_STALE = 0xffff, 35;
    INVALID_TLV_FIELD = 0xffff, 37;
    TLV_TABLE_MOD_FAILED_INVALID_TLV_DEL = 0xffff, 38;
    BUNDLE_FAILED_UNKNOWN = 0xffff, 2300;
    BUNDLE_FAILED_EPERM = 0xffff, 2301;
    BUNDLE_FAILED_BAD_ID = 0xffff, 2302;
    BUNDLE_FAILED_BUNDLE_EXIST = 0xffff, 2303;
    BUNDLE_FAILED_BUNDLE_CLOSED = 0xffff, 2304;
    BUNDLE_FAILED_OUT_OF_BUNDLES = 0xffff, 2305;
    BUNDLE_FAILED_BAD_TYPE = 0xffff, 2306;
    BUNDLE_FAILED_BAD_FLAGS = 0xffff, 2307;
    BUNDLE_FAILED_MSG_BAD_LEN = 0xffff, 2308;
    BUNDLE_FAILED_MSG_BAD_XID = 0xffff, 2309;
    BUNDLE_FAILED_MSG_UNSUP = 0xffff, 2310;
    BUNDLE_FAILED_MSG_CONFLICT = 0xffff, 2311;
    BUNDLE_FAILED_MSG_TOO_MANY = 0xffff, 2312;
    BUNDLE_FAILED_MSG_FAILED = 0xffff, 2313;
    BUNDLE_FAILED_TIMEOUT = 0xffff, 2314;
    BUNDLE_FAILED_BUNDLE_IN_PROGRESS = 0xffff, 2315;
    BAD_PROPERTY_BAD_TYPE = 0xffff, 4440;
    BAD_PROPERTY_BAD_LEN = 0xffff, 4441;
    BAD_PROPERTY_BAD_EXPERIMENTER = 0xffff, 4445;
}

impl fmt::Display for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => f.write_str(name),
            None => write!(f, "error type {} code {}", self.kind, self.code),
        }
    }
}

impl fmt::Debug for ErrorCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self} ({}, {})", self.kind, self.code)
    }
}

impl std::error::Error for ErrorCode {}
