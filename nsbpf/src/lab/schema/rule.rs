//! Kinds of values in a policy and its rules.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use super::kind::kind;

/// A word of a pattern or a number, or a list of them.
fn words(pattern: &str, least: u64, most: u64, examples: &Value) -> Schema {
    json_schema!({
        "type": ["string", "integer", "array"],
        "pattern": pattern,
        "minimum": least,
        "maximum": most,
        "minItems": 1,
        "items": {
            "type": ["string", "integer"],
            "pattern": pattern,
            "minimum": least,
            "maximum": most,
        },
        "examples": examples,
    })
}

fn side() -> Value {
    json!({
        "type": ["string", "number", "array"],
        "minLength": 1,
        "minItems": 1,
        "items": { "type": ["string", "number"], "minLength": 1 },
    })
}

kind!(
    /// What is done with packets that no rule is about.
    FallbackText,
    json_schema!({ "enum": ["allow", "deny"] })
);

kind!(
    /// What a rule does.
    ActionText,
    json_schema!({ "enum": ["allow", "deny", "reject", "limit", "log"] })
);

kind!(
    /// One side of a packet.
    SideText,
    json_schema!({
        "anyOf": [
            side(),
            {
                "type": "object",
                "properties": { "not": side() },
                "required": ["not"],
                "additionalProperties": false,
            },
        ],
        "examples": ["vnet0", ["vnet0/eth0", "10.0.0.0/8"], { "not": "vnet0" }],
    })
);

kind!(
    /// IP protocols.
    ProtocolText,
    words("^(any|tcp|udp|icmp|icmpv6|sctp|[0-9]+|0x[0-9A-Fa-f]+)$", 0, 255, &json!(["tcp", [6, 17]]))
);

kind!(
    /// Ports of a transport protocol.
    PortsText,
    words(
        "^ *([0-9]+|0x[0-9A-Fa-f]+) *(- *([0-9]+|0x[0-9A-Fa-f]+) *)?$",
        0,
        65_535,
        &json!([80, "8000-8099", [80, 443]])
    )
);

kind!(
    /// TCP flags.
    FlagsText,
    json_schema!({
        "type": ["string", "array"],
        "pattern": "^!?(fin|syn|rst|psh|ack|urg)$",
        "minItems": 1,
        "items": { "type": "string", "pattern": "^!?(fin|syn|rst|psh|ack|urg)$" },
        "examples": ["syn", ["syn", "ack"], ["fin", "!ack"]],
    })
);

kind!(
    /// ICMP types.
    IcmpText,
    words("^([a-z][a-z0-9-]*|[0-9]+(/[0-9]+)?)$", 0, 255, &json!(["echo-request", 8, ["3/1", 11]]))
);

kind!(
    /// Differentiated services code points.
    DscpText,
    words("^(ef|cs[0-7]|af[1-4][1-3]|[0-9]+|0x[0-9A-Fa-f]+)$", 0, 63, &json!(["ef", 46, ["cs1", "af11"]]))
);

kind!(
    /// VLANs, or none.
    VlansText,
    words("^ *(none|[0-9]+ *(- *[0-9]+ *)?)$", 1, 4094, &json!([7, "10-19", "none", [7, 9]]))
);

kind!(
    /// MAC addresses.
    MacsText,
    json_schema!({
        "type": ["string", "array"],
        "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$",
        "minItems": 1,
        "items": { "type": "string", "pattern": "^[0-9A-Fa-f]{2}(:[0-9A-Fa-f]{2}){5}$" },
        "examples": ["02:00:00:00:00:01"],
    })
);

kind!(
    /// Ethernet protocols.
    EthertypeText,
    words(
        "^(any|arp|ipv4|ipv6|[0-9]+|0x[0-9A-Fa-f]+)$",
        0x600,
        0xffff,
        &json!(["arp", 0x0806, ["ipv4", "arp"]])
    )
);

kind!(
    /// Fragments, or whole packets.
    FragmentText,
    json_schema!({ "enum": [true, false] })
);

kind!(
    /// So many packets or bits a second.
    LimitText,
    json_schema!({
        "type": "string",
        "pattern": "^ *[0-9]+ *(|packets?|bit|kbit|Mbit|Gbit) */s *$",
        "examples": ["100/s", "10Mbit/s"],
    })
);

kind!(
    /// So many packets or bits.
    BurstText,
    json_schema!({
        "type": ["string", "integer"],
        "pattern": "^ *[0-9]+ *(|packets?|bit|kbit|Mbit|Gbit) *$",
        "minimum": 1,
        "examples": [50, "1Mbit"],
    })
);

kind!(
    /// Whether packets are logged, or one of how many.
    LogText,
    json_schema!({
        "type": ["boolean", "integer"],
        "minimum": 1,
        "maximum": u32::MAX,
        "examples": [true, 100],
    })
);
