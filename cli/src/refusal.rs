//! What a switch's error message means to an operator (OpenFlow 1.3.5 §7.4.4).

use openflow::{ErrorCode, ErrorMessage};

/// The error in words, with its name in the specification.
pub fn text(error: &ErrorMessage) -> String {
    let code = error.code;
    match meaning(code) {
        Some(meaning) => format!("the switch refused: {meaning} ({code})"),
        None => format!("the switch refused: {code}"),
    }
}

fn meaning(code: ErrorCode) -> Option<&'static str> {
    let found = MEANINGS.iter().find(|(known, _)| *known == code);
    found.map(|(_, meaning)| *meaning)
}

/// The errors that an operator meets.
const MEANINGS: &[(ErrorCode, &str)] = &[
    (
        ErrorCode::BAD_REQUEST_BAD_TABLE_ID,
        "there is no such table",
    ),
    (ErrorCode::BAD_REQUEST_BAD_PORT, "there is no such port"),
    (
        ErrorCode::BAD_ACTION_BAD_TYPE,
        "it does not know this action",
    ),
    (
        ErrorCode::BAD_ACTION_BAD_OUT_PORT,
        "an output to a port that there cannot be",
    ),
    (
        ErrorCode::BAD_ACTION_BAD_ARGUMENT,
        "an action has an argument that makes no sense",
    ),
    (
        ErrorCode::TLV_TABLE_MOD_FAILED_BAD_OPT_LEN,
        "options have 4 to 124 bytes, a multiple of 4",
    ),
    (
        ErrorCode::TLV_TABLE_MOD_FAILED_TABLE_FULL,
        "there is room for 64 bytes of options together; longer than 8, they take multiples of 16",
    ),
    (
        ErrorCode::TLV_TABLE_MOD_FAILED_ALREADY_MAPPED,
        "the field is mapped; delete the mapping first",
    ),
    (
        ErrorCode::TLV_TABLE_MOD_FAILED_DUP_ENTRY,
        "the option is mapped to another field",
    ),
    (
        ErrorCode::TLV_TABLE_MOD_FAILED_INVALID_TLV_DEL,
        "a flow or group uses the field; delete it first",
    ),
    (
        ErrorCode::INVALID_TLV_FIELD,
        "no Geneve option is mapped to the tun_metadata field; see vsctl tlv show",
    ),
    (ErrorCode::BAD_ACTION_TOO_MANY, "too many actions"),
    (ErrorCode::BAD_ACTION_BAD_QUEUE, "there is no such queue"),
    (
        ErrorCode::BAD_ACTION_BAD_OUT_GROUP,
        "there is no such group; add it first",
    ),
    (
        ErrorCode::BAD_ACTION_MATCH_INCONSISTENT,
        "an action needs a header that the match does not promise; match on the protocol too",
    ),
    (
        ErrorCode::BAD_ACTION_BAD_SET_TYPE,
        "a field that cannot be set",
    ),
    (
        ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT,
        "a field cannot have this value",
    ),
    (
        ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID,
        "goto_table leads to a higher table only",
    ),
    (
        ErrorCode::BAD_MATCH_BAD_FIELD,
        "it does not know a field of the match",
    ),
    (
        ErrorCode::BAD_MATCH_BAD_VALUE,
        "a field of the match cannot have this value",
    ),
    (
        ErrorCode::BAD_MATCH_BAD_MASK,
        "a field of the match cannot have this mask",
    ),
    (
        ErrorCode::BAD_MATCH_BAD_PREREQ,
        "the match lacks a protocol that one of its fields needs",
    ),
    (ErrorCode::FLOW_MOD_FAILED_TABLE_FULL, "the table is full"),
    (
        ErrorCode::FLOW_MOD_FAILED_BAD_TABLE_ID,
        "there is no such table",
    ),
    (
        ErrorCode::FLOW_MOD_FAILED_OVERLAP,
        "a flow of the same priority overlaps, and check_overlap was asked for",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_GROUP_EXISTS,
        "the group is there; change it with group mod",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_INVALID_GROUP,
        "a group cannot be like this",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_OUT_OF_GROUPS,
        "there are too many groups",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_OUT_OF_BUCKETS,
        "too many buckets",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_LOOP,
        "groups would send to each other in a loop",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_UNKNOWN_GROUP,
        "there is no such group; make it with group add",
    ),
    (
        ErrorCode::GROUP_MOD_FAILED_CHAINED_GROUP,
        "another group sends to it",
    ),
    (
        ErrorCode::METER_MOD_FAILED_METER_EXISTS,
        "the meter is there; change it with meter mod",
    ),
    (
        ErrorCode::METER_MOD_FAILED_INVALID_METER,
        "a meter cannot be like this",
    ),
    (
        ErrorCode::METER_MOD_FAILED_UNKNOWN_METER,
        "there is no such meter; make it with meter add",
    ),
    (
        ErrorCode::METER_MOD_FAILED_OUT_OF_METERS,
        "there are too many meters",
    ),
    (ErrorCode::METER_MOD_FAILED_OUT_OF_BANDS, "too many bands"),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_in_words_and_by_name() {
        let error = |kind, code| ErrorMessage {
            code: ErrorCode { kind, code },
            experimenter: None,
            data: Vec::new(),
        };
        let overlap = text(&error(5, 3));
        assert!(overlap.contains("overlaps"), "{overlap}");
        assert!(overlap.ends_with("(FLOW_MOD_FAILED_OVERLAP)"), "{overlap}");
        assert_eq!(
            text(&error(77, 7)),
            "the switch refused: error type 77 code 7"
        );
    }
}
