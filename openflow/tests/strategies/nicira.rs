//! Random actions of Nicira's.

use openflow::{
    Bundle, BundleAlgorithm, Controller, HashFields, Learn, LearnSource, LearnSpec, Multipath,
    MultipathAlgorithm, NiciraMessage, ObservationId, PacketIn2, PacketInFormat, Sample,
    SampleDirection,
};

use super::*;

fn subfield() -> impl Strategy<Value = Subfield> {
    let fields = Field::ALL.iter().copied();
    let fields = fields.filter(|field| !field.is_tunnel_option());
    let fields: Vec<Field> = fields.filter(|field| !field.is_read_only()).collect();
    (select(fields), any::<u8>(), any::<u8>()).prop_map(|(field, offset, width)| {
        let offset = offset % field.width() as u8;
        let rest = (field.width() as u8 - offset).min(64);
        let width = 1 + width % rest;
        Subfield {
            field,
            offset,
            width,
        }
    })
}

/// Any action of Nicira's.
pub fn nicira() -> BoxedStrategy<Nicira> {
    let in_port = option::of((1u32..0xff00).prop_map(OfPort));
    let table = option::of((0..=TableId::LAST.0).prop_map(TableId));
    let within = vec(super::flows::set_field(), 0..3).prop_map(Arc::from);
    prop_oneof![
        (in_port, table, any::<bool>()).prop_map(|(in_port, table, by_connection)| {
            Nicira::Resubmit {
                in_port,
                table,
                by_connection,
            }
        }),
        (subfield(), any::<u64>()).prop_map(|(dst, value)| Nicira::Load {
            dst,
            value: value & dst.ones() as u64,
        }),
        (subfield(), subfield()).prop_map(|(src, dst)| {
            let width = src.width.min(dst.width);
            let (src, dst) = (Subfield { width, ..src }, Subfield { width, ..dst });
            Nicira::Move { src, dst }
        }),
        (subfield(), any::<u16>()).prop_map(|(src, max_len)| Nicira::OutputReg { src, max_len }),
        subfield().prop_map(Nicira::Push),
        subfield().prop_map(Nicira::Pop),
        any::<[u8; 14]>().prop_map(|note| Nicira::Note(Arc::new(note))),
        controller().prop_map(Nicira::Controller),
        learn().prop_map(|learn| Nicira::Learn(Arc::new(learn))),
        bundle().prop_map(|bundle| Nicira::Bundle(Arc::new(bundle))),
        multipath().prop_map(Nicira::Multipath),
        sample().prop_map(Nicira::Sample),
        (any::<u16>(), bit()).prop_map(|(len, dst)| Nicira::CheckPacketLarger { len, dst }),
        (port(), 14..=u32::MAX)
            .prop_map(|(port, len_max)| Nicira::OutputTruncated { port, len_max }),
        any::<(u16, u16)>().prop_map(|(idle_timeout_s, hard_timeout_s)| Nicira::FinTimeout {
            idle_timeout_s,
            hard_timeout_s,
        }),
        within.prop_map(Nicira::Clone),
        vec(any::<u16>(), 0..6).prop_map(|ids| Nicira::DecTtlIds(ids.into())),
        select(vec![Nicira::Exit, Nicira::PopQueue, Nicira::CtClear]),
    ]
    .boxed()
}

fn bit() -> impl Strategy<Value = Subfield> {
    subfield().prop_map(|subfield| Subfield {
        width: 1,
        ..subfield
    })
}

fn port() -> impl Strategy<Value = OfPort> {
    (1u32..0xff00).prop_map(OfPort)
}

fn controller() -> impl Strategy<Value = Controller> {
    let userdata = vec(any::<u8>(), 0..20);
    let meter = option::of((1..u32::MAX).prop_map(MeterId));
    let numbers = (any::<u16>(), any::<u16>(), 0..3u8);
    (numbers, userdata, any::<bool>(), meter).prop_map(
        |((max_len, id, reason), userdata, pause, meter)| Controller {
            max_len,
            id,
            reason,
            userdata: userdata.into(),
            pause,
            meter,
        },
    )
}

fn learn() -> impl Strategy<Value = Learn> {
    let numbers = any::<(u16, u64, u16, u16, u16, u16, bool, bool, u32)>();
    let table = (0..=TableId::LAST.0).prop_map(TableId);
    let specs = vec(learn_spec(), 0..6);
    (numbers, table, option::of(bit()), specs).prop_map(|(numbers, table, result, specs)| Learn {
        table,
        priority: numbers.0,
        cookie: numbers.1,
        idle_timeout_s: numbers.2,
        hard_timeout_s: numbers.3,
        fin_idle_timeout_s: numbers.4,
        fin_hard_timeout_s: numbers.5,
        send_flow_removed: numbers.6,
        delete_learned: numbers.7,
        limit: numbers.8,
        result,
        specs: specs.into(),
    })
}

fn learn_spec() -> impl Strategy<Value = LearnSpec> {
    let parts = (subfield(), subfield(), any::<u128>(), 0..5u8);
    parts.prop_map(|(src, dst, value, kind)| {
        let width = src.width.min(dst.width);
        let (src, dst) = (Subfield { width, ..src }, Subfield { width, ..dst });
        let value = LearnSource::Value(value & dst.ones());
        match kind {
            0 => LearnSpec::Match(dst, LearnSource::Field(src)),
            1 => LearnSpec::Match(dst, value),
            2 => LearnSpec::Load(dst, LearnSource::Field(src)),
            3 => LearnSpec::Load(dst, value),
            _ => LearnSpec::Output(src),
        }
    })
}

fn bundle() -> impl Strategy<Value = Bundle> {
    let fields = select(HashFields::ALL.to_vec());
    let algorithm = select(BundleAlgorithm::ALL.to_vec());
    let dst = option::of(Just(Subfield::whole(Field::Reg3)));
    let members = vec(port(), 0..6);
    (fields, any::<u16>(), algorithm, dst, members).prop_map(
        |(fields, basis, algorithm, dst, members)| Bundle {
            fields,
            basis,
            algorithm,
            dst,
            members: members.into(),
        },
    )
}

fn multipath() -> impl Strategy<Value = Multipath> {
    let fields = select(HashFields::ALL.to_vec());
    let algorithm = select(MultipathAlgorithm::ALL.to_vec());
    let numbers = any::<(u16, u16, u32)>();
    (fields, algorithm, numbers, subfield()).prop_map(
        |(fields, algorithm, (basis, last, argument), dst)| Multipath {
            fields,
            basis,
            algorithm,
            last: last & dst.ones() as u16,
            argument,
            dst,
        },
    )
}

fn sample() -> impl Strategy<Value = Sample> {
    let numbers = (
        1..=u16::MAX,
        any::<u32>(),
        observation_id(),
        observation_id(),
    );
    let directions = vec![
        SampleDirection::Default,
        SampleDirection::Ingress,
        SampleDirection::Egress,
    ];
    (numbers, option::of(port()), select(directions)).prop_map(|(numbers, port, direction)| {
        Sample {
            probability: numbers.0,
            collector_set: numbers.1,
            domain: numbers.2,
            point: numbers.3,
            port,
            direction,
        }
    })
}

fn observation_id() -> impl Strategy<Value = ObservationId> {
    let source = subfield().prop_map(|source| Subfield {
        width: source.width.min(ObservationId::WIDTH_MAX),
        ..source
    });
    prop_oneof![
        any::<u32>().prop_map(ObservationId::Number),
        source.prop_map(ObservationId::Field),
    ]
}

/// Any message of Nicira's.
pub fn message() -> impl Strategy<Value = NiciraMessage> {
    let formats = vec![PacketInFormat::Standard, PacketInFormat::Nicira2];
    prop_oneof![
        select(formats).prop_map(NiciraMessage::SetPacketInFormat),
        any::<u16>().prop_map(NiciraMessage::SetControllerId),
        packet_in2().prop_map(|packet| NiciraMessage::PacketIn2(Box::new(packet))),
        packet_in2().prop_map(|packet| NiciraMessage::Resume(Box::new(packet))),
    ]
}

fn packet_in2() -> impl Strategy<Value = PacketIn2> {
    let reasons = vec![
        PacketInReason::NoMatch,
        PacketInReason::Action,
        PacketInReason::InvalidTtl,
    ];
    let numbers = (
        option::of(any::<u32>()),
        option::of(0..u32::MAX),
        option::of((0..=TableId::LAST.0).prop_map(TableId)),
        any::<u64>(),
    );
    let bytes = || vec(any::<u8>(), 0..40);
    let texts = (bytes(), bytes(), option::of(bytes()));
    let registers = any::<(u32, u64, u32)>();
    (numbers, select(reasons), texts, registers).prop_map(|(numbers, reason, texts, registers)| {
        let mut metadata = Match::default();
        metadata.set(Field::InPort, registers.0.into(), Field::InPort.ones());
        metadata.set(Field::Metadata, registers.1.into(), Field::Metadata.ones());
        metadata.set(Field::Reg3, registers.2.into(), Field::Reg3.ones());
        PacketIn2 {
            packet: texts.0,
            full_len: numbers.0,
            buffer_id: numbers.1,
            table: numbers.2,
            cookie: numbers.3,
            reason,
            metadata,
            userdata: texts.1,
            continuation: texts.2,
        }
    })
}
