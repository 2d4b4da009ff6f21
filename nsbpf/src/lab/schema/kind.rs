//! Kinds of plain values: each stands in [`spec`](crate::lab::spec) for how a text or
//! a number is to look.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};

use crate::lab::adopt::MAX_CONTAINER_BYTES;
use crate::lab::bridge::{POSSIBLE_FORWARD_DELAYS, POSSIBLE_MTUS, POSSIBLE_VLANS};
use crate::lab::count::MAX_NAMESPACES;
use crate::lab::name::{MAX_BYTES, MAX_INTERFACE_BYTES, RESERVED_INTERFACES};
use crate::lab::queues::POSSIBLE_QUEUES;

/// Declares a kind of value that stands where its schema is wanted.
macro_rules! kind {
    ($(#[$doc:meta])* $name:ident, $schema:expr) => {
        $(#[$doc])*
        pub(in crate::lab) enum $name {}

        impl JsonSchema for $name {
            fn inline_schema() -> bool {
                true
            }

            fn schema_name() -> Cow<'static, str> {
                stringify!($name).into()
            }

            fn json_schema(_: &mut SchemaGenerator) -> Schema {
                $schema
            }
        }
    };
}

pub(super) use kind;

// Names may be written as numbers: a YAML parser that knows no schema takes `1` for
// one.
kind!(
    /// The name of a lab or a namespace.
    NameText,
    json_schema!({
        "type": ["string", "number"],
        "pattern": format!("^{NAME}$"),
        "maxLength": MAX_BYTES,
    })
);

kind!(
    /// The name of a bridge or an interface.
    InterfaceNameText,
    json_schema!({
        "type": ["string", "number"],
        "pattern": format!("^{NAME}$"),
        "maxLength": MAX_INTERFACE_BYTES,
        "not": { "enum": RESERVED_INTERFACES },
    })
);

kind!(
    /// How packets travel over a bridge.
    FastPathText,
    json_schema!({ "enum": ["bridge", "redirect", "peer", "xdp"] })
);

kind!(
    /// What a guarded interface may not claim.
    GuardText,
    json_schema!({ "enum": [true, false, "mac"] })
);

/// What [`Name`](super::Name) takes, but for its length.
const NAME: &str = "[A-Za-z0-9_][A-Za-z0-9_.-]*";

kind!(
    /// An interface of a namespace.
    PeerText,
    json_schema!({
        "type": "string",
        "pattern": format!("^{NAME}/{NAME}$"),
        "examples": ["vnet1/veth1"],
    })
);

kind!(
    /// An address with its prefix length, or a subnet to take the next one of.
    AddressText,
    json_schema!({
        "type": "string",
        "pattern": "^[0-9A-Fa-f.:]+/[0-9]+$",
        "examples": ["10.0.0.1/24", "fd00::1/64", "10.0.0.0/24"],
    })
);

kind!(
    /// Where a route leads.
    SubnetText,
    json_schema!({
        "type": "string",
        "pattern": "^(default|[0-9A-Fa-f.:]+/[0-9]+)$",
        "examples": ["default", "10.1.0.0/24", "fd01::/64"],
    })
);

kind!(
    /// An address alone.
    GatewayText,
    json_schema!({
        "type": "string",
        "pattern": "^[0-9A-Fa-f.:]+$",
        "examples": ["10.0.0.254", "fd00::fe"],
    })
);

kind!(
    /// A unicast MAC address.
    MacText,
    json_schema!({
        "type": "string",
        "pattern": "^[0-9A-Fa-f][02468ACEace](:[0-9A-Fa-f]{2}){5}$",
        "examples": ["02:00:00:00:00:01"],
    })
);

kind!(
    /// A name that `ip netns` shows, or a path.
    NetnsText,
    json_schema!({
        "type": ["string", "number"],
        "pattern": "^(/.*|[^/]+)$",
        "not": { "enum": [".", ".."] },
        "examples": ["theirs", "/proc/4711/ns/net"],
    })
);

kind!(
    /// The name or id of a container.
    ContainerText,
    json_schema!({
        "type": ["string", "number"],
        "pattern": "^[A-Za-z0-9][A-Za-z0-9_.-]*$",
        "maxLength": MAX_CONTAINER_BYTES,
    })
);

kind!(
    /// The name of a setting.
    SysctlNameText,
    json_schema!({
        "type": "string",
        "pattern": "^net[./][A-Za-z0-9_./-]+$",
        "examples": ["net.ipv4.ip_forward"],
    })
);

kind!(
    /// What a setting is set to.
    SysctlValue,
    json_schema!({ "type": ["string", "number"], "pattern": "[!-~]" })
);

kind!(
    /// Anything at all.
    Text,
    json_schema!({ "type": ["string", "number", "boolean"] })
);

kind!(
    /// A word, or several.
    WordsText,
    json_schema!({
        "type": ["string", "number", "array"],
        "minLength": 1,
        "minItems": 1,
        "items": { "type": ["string", "number"], "minLength": 1 },
        "examples": ["all", "vnet0", ["vnet0", "vnet1"]],
    })
);

kind!(
    /// VLANs of a trunk.
    VlanRange,
    json_schema!({
        "type": ["string", "integer"],
        "pattern": "^ *[0-9]+ *(- *[0-9]+ *)?$",
        "minimum": POSSIBLE_VLANS.start(),
        "maximum": POSSIBLE_VLANS.end(),
        "examples": [10, "20-29"],
    })
);

kind!(
    /// A VLAN id.
    Vlan,
    json_schema!({
        "type": "integer",
        "minimum": POSSIBLE_VLANS.start(),
        "maximum": POSSIBLE_VLANS.end(),
    })
);

kind!(
    /// A largest packet, in bytes.
    Mtu,
    json_schema!({
        "type": "integer",
        "minimum": POSSIBLE_MTUS.start(),
        "maximum": POSSIBLE_MTUS.end(),
    })
);

kind!(
    /// Queues of an interface.
    Queues,
    json_schema!({
        "type": "integer",
        "minimum": POSSIBLE_QUEUES.start(),
        "maximum": POSSIBLE_QUEUES.end(),
    })
);

kind!(
    /// Seconds.
    ForwardDelay,
    json_schema!({
        "type": "integer",
        "minimum": POSSIBLE_FORWARD_DELAYS.start(),
        "maximum": POSSIBLE_FORWARD_DELAYS.end(),
    })
);

kind!(
    /// How many.
    Count,
    json_schema!({ "type": "integer", "minimum": 1, "maximum": MAX_NAMESPACES })
);

kind!(
    /// A process.
    Pid,
    json_schema!({ "type": "integer", "minimum": 1, "maximum": u32::MAX })
);

kind!(
    /// A port of TCP or UDP.
    Port,
    json_schema!({ "type": "integer", "minimum": 1, "maximum": u16::MAX })
);
