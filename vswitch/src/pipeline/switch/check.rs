//! Whether instructions and actions can be carried out, and the error that says why not
//! (OpenFlow 1.3.5 §6.4, §7.4.4).
//!
//! Set-field needs the headers it sets: from the match, or from actions before it. A pop may
//! uncover anything, so after it nothing is refused. A bucket has no match: nothing is refused
//! there for what packets may lack.

use flowtable::conntrack::ct_state;
use flowtable::{Field, FlowKey, Match, VLAN_PRESENT, eth_type, ip_proto};
use openflow::ct::{ALG_FTP, ALG_TFTP, is_of_connection};
use openflow::{
    Action, Ct, CtZone, ErrorCode, GroupId, Instructions, Learn, LearnSource, LearnSpec, MeterId,
    Nicira, OfPort, QueueId, TableId,
};

use super::super::Bridge;
use super::super::action_set::ActionSet;

/// Whether a flow of `table` may have these instructions, whatever it matches.
pub fn instructions(
    bridge: &Bridge,
    table: TableId,
    instructions: &Instructions,
) -> Result<(), ErrorCode> {
    super::footprint::lists(instructions).try_for_each(|list| stored_actions(bridge, list))?;
    clauses(instructions)?;
    let mut set = instructions.write.iter().flat_map(|list| list.iter());
    if !set.all(may_be_in_set) {
        return Err(ErrorCode::BAD_ACTION_BAD_TYPE);
    }
    let forward = |next: TableId| next > table && next <= TableId::LAST;
    if instructions.goto.is_some_and(|next| !forward(next)) {
        return Err(ErrorCode::BAD_INSTRUCTION_BAD_TABLE_ID);
    }
    match instructions.meter {
        Some(meter) if meter > MeterId::MAX || bridge.meter(meter).is_none() => {
            Err(ErrorCode::METER_MOD_FAILED_INVALID_METER)
        }
        _ => Ok(()),
    }
}

/// Whether a flow that is a clause of a conjunction is nothing else.
fn clauses(instructions: &Instructions) -> Result<(), ErrorCode> {
    let is_clause = |action: &Action| matches!(action, Action::Nicira(Nicira::Conjunction { .. }));
    let may_be_beside =
        |action: &Action| is_clause(action) || matches!(action, Action::Nicira(Nicira::Note(_)));
    let apply = instructions.apply.as_deref().unwrap_or_default();
    let alone = Instructions {
        apply: None,
        ..Instructions::clone(instructions)
    };
    let is_mixed = !apply.iter().all(may_be_beside) || alone != Instructions::default();
    match Action::all(apply).any(is_clause) && is_mixed {
        true => Err(ErrorCode::BAD_ACTION_BAD_ARGUMENT),
        false => Ok(()),
    }
}

/// Whether an action set may hold an action.
fn may_be_in_set(action: &Action) -> bool {
    match action {
        Action::Nicira(nicira) => matches!(
            nicira,
            Nicira::Load { .. } | Nicira::Move { .. } | Nicira::Resubmit { .. }
        ),
        _ => true,
    }
}

/// Whether packets that match have the fields that instructions set.
pub fn prerequisites(matching: &Match, instructions: &Instructions) -> Result<(), ErrorCode> {
    if !sets_fields(instructions) {
        return Ok(());
    }
    if let Some(list) = &instructions.apply {
        consistent(matching, list)?;
    }
    if let Some(list) = &instructions.write {
        let mut set = ActionSet::default();
        set.write(list);
        consistent(matching, &set.ordered())?;
    }
    Ok(())
}

/// Whether instructions set fields, so that it matters which fields packets have.
pub fn sets_fields(instructions: &Instructions) -> bool {
    let mut actions = super::footprint::lists(instructions).flat_map(Action::all);
    actions.any(|action| matches!(action, Action::SetField { .. } | Action::Nicira(_)))
}

/// Whether a flow or bucket may have these actions: [`OfPort::TABLE`] is for packet-out alone.
pub fn stored_actions(bridge: &Bridge, list: &[Action]) -> Result<(), ErrorCode> {
    let to_table =
        |action: &_| matches!(action, Action::Output { port, .. } if *port == OfPort::TABLE);
    match Action::all(list).any(to_table) {
        true => Err(ErrorCode::BAD_ACTION_BAD_OUT_PORT),
        false => actions(bridge, list),
    }
}

/// Whether each action can be carried out in this bridge.
pub fn actions(bridge: &Bridge, list: &[Action]) -> Result<(), ErrorCode> {
    Action::all(list).try_for_each(|action| check_action(bridge, action))
}

fn check_action(bridge: &Bridge, action: &Action) -> Result<(), ErrorCode> {
    let error = match *action {
        Action::Output { port, .. } if !is_output(port) => ErrorCode::BAD_ACTION_BAD_OUT_PORT,
        Action::Group(group) if bridge.group(group).is_none() => {
            ErrorCode::BAD_ACTION_BAD_OUT_GROUP
        }
        Action::SetQueue(QueueId::ALL) => ErrorCode::BAD_ACTION_BAD_QUEUE,
        Action::PushVlan(tpid) if !matches!(tpid, 0x8100 | 0x88a8) => {
            ErrorCode::BAD_ACTION_BAD_ARGUMENT
        }
        Action::PushMpls(kind) if !matches!(kind, eth_type::MPLS | eth_type::MPLS_MULTICAST) => {
            ErrorCode::BAD_ACTION_BAD_ARGUMENT
        }
        Action::PushPbb(kind) if kind != eth_type::PBB => ErrorCode::BAD_ACTION_BAD_ARGUMENT,
        Action::SetField { field, .. } if !is_settable(field) => ErrorCode::BAD_ACTION_BAD_SET_TYPE,
        Action::SetField { field, value, .. } if value & !field.ones() != 0 => {
            ErrorCode::BAD_ACTION_BAD_SET_ARGUMENT
        }
        _ => return Ok(()),
    };
    Err(error)
}

/// Whether a number is that of a port that is or could be, or of a reserved port that sends.
fn is_output(port: OfPort) -> bool {
    match port {
        OfPort(0) | OfPort::ANY => false,
        port => port <= OfPort::MAX || port >= OfPort::IN_PORT,
    }
}

fn is_settable(field: Field) -> bool {
    field != Field::InPort && (!field.is_read_only() || is_of_connection(field))
}

/// Whether each set-field finds its field.
fn consistent(matching: &Match, list: &[Action]) -> Result<(), ErrorCode> {
    let (mut key, mut mask) = (matching.key(), matching.mask());
    for action in list {
        match *action {
            Action::SetField { field, value, .. } => {
                if lacks(&Match::new(&key, &mask), field) {
                    return Err(ErrorCode::BAD_ACTION_MATCH_INCONSISTENT);
                }
                field.write(&mut key, value, field.ones());
                field.write(&mut mask.0, field.ones(), field.ones());
            }
            Action::PushVlan(_) => {
                key.vlan_tci = VLAN_PRESENT;
                mask.0.vlan_tci = VLAN_PRESENT;
            }
            Action::PushMpls(kind) | Action::PushPbb(kind) => {
                set_eth_type(&mut key, kind);
                set_eth_type(&mut mask.0, u16::MAX);
            }
            Action::PopVlan | Action::PopMpls(_) | Action::PopPbb => return Ok(()),
            Action::Nicira(ref nicira) => {
                let within = Match::new(&key, &mask);
                if fields(nicira).any(|field| lacks(&within, field)) {
                    return Err(ErrorCode::BAD_ACTION_MATCH_INCONSISTENT);
                }
                match nicira {
                    Nicira::Clone(list) => consistent(&within, list)?,
                    Nicira::Learn(learn) => learnable(&within, learn)?,
                    Nicira::FinTimeout { .. } if lacks(&within, Field::TcpFlags) => {
                        return Err(ErrorCode::BAD_ACTION_MATCH_INCONSISTENT);
                    }
                    Nicira::Ct(ct) => trackable(&within, ct)?,
                    _ => {}
                }
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether packets that match can be tracked.
fn trackable(matching: &Match, ct: &Ct) -> Result<(), ErrorCode> {
    let (key, mask) = (matching.key(), matching.mask());
    let proto = Some(key.ip_proto).filter(|_| mask.0.ip_proto == u8::MAX);
    let is_ip = [eth_type::IPV4, eth_type::IPV6].contains(&key.eth_type);
    let is_invalid = key.ct_state & mask.0.ct_state & ct_state::INV != 0;
    let needed = match ct.alg {
        ALG_FTP => Some(ip_proto::TCP),
        ALG_TFTP => Some(ip_proto::UDP),
        _ => None,
    };
    let is_wrong = needed.is_some() && needed != proto;
    let lacks_zone = match ct.zone {
        CtZone::Field(source) => lacks(matching, source.field),
        CtZone::Number(_) => false,
    };
    match !is_ip
        || mask.0.eth_type != u16::MAX
        || is_invalid && ct.commits
        || is_wrong
        || lacks_zone
    {
        true => Err(ErrorCode::BAD_ACTION_MATCH_INCONSISTENT),
        false => consistent(matching, &ct.actions),
    }
}

/// Fields that an action names.
fn fields(nicira: &Nicira) -> impl Iterator<Item = Field> {
    let (src, dst) = match nicira {
        Nicira::Move { src, dst } => (Some(src), Some(dst)),
        Nicira::Load { dst, .. } | Nicira::Pop(dst) => (None, Some(dst)),
        Nicira::Push(src) | Nicira::OutputReg { src, .. } => (Some(src), None),
        Nicira::CheckPacketLarger { dst, .. } => (None, Some(dst)),
        Nicira::Multipath(multipath) => (None, Some(&multipath.dst)),
        Nicira::Bundle(bundle) => (None, bundle.dst.as_ref()),
        Nicira::Learn(learn) => (None, learn.result.as_ref()),
        _ => (None, None),
    };
    [src, dst]
        .into_iter()
        .flatten()
        .map(|subfield| subfield.field)
}

/// Whether packets that match have what a flow is made of, and whether what the flow matches comes
/// with what is required of those that have it.
fn learnable(within: &Match, learn: &Learn) -> Result<(), ErrorCode> {
    let mut made = Match::default();
    for spec in learn.specs.iter() {
        let is_known = spec.taken().is_none_or(|src| !lacks(within, src.field));
        let is_sound = match spec {
            LearnSpec::Match(dst, _) => !made.missing_prerequisite(dst.field),
            LearnSpec::Load(dst, _) => !lacks(&made, dst.field),
            LearnSpec::Output(_) => true,
        };
        if !is_known || !is_sound {
            return Err(ErrorCode::BAD_ACTION_MATCH_INCONSISTENT);
        }
        if let LearnSpec::Match(dst, LearnSource::Value(value)) = spec {
            made.set(dst.field, value << dst.offset, dst.mask());
        }
    }
    Ok(())
}

fn set_eth_type(key: &mut FlowKey, eth_type: u16) {
    key.eth_type = eth_type;
    key.ip_proto = 0;
}

fn lacks(matching: &Match, field: Field) -> bool {
    match field {
        Field::VlanVid => {
            let present = u128::from(VLAN_PRESENT);
            let (value, mask) = matching.read(field);
            value & mask & present == 0
        }
        field => matching.missing_prerequisite(field),
    }
}

/// Whether a bucket can watch what it says it watches.
pub fn watch(bridge: &Bridge, port: OfPort, group: GroupId) -> Result<(), ErrorCode> {
    let port_bad = port != OfPort::ANY && port != OfPort::LOCAL && port > OfPort::MAX;
    let group_bad = group != GroupId::ANY && bridge.group(group).is_none();
    match port_bad || group_bad {
        true => Err(ErrorCode::GROUP_MOD_FAILED_BAD_WATCH),
        false => Ok(()),
    }
}
