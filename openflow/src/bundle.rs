//! Bundles: changes that are collected and then made at one instant, or not at all (ONF extension
//! 230 to OpenFlow 1.3, which OpenFlow 1.4 §6.9 and §7.3.9 took over).

/// `ONF_EXPERIMENTER_ID`: the one experimenter whose extensions we know some of.
pub const ONF: u32 = 0x4f4e_4600;

/// Number of a bundle, its controller's choice and of meaning on its connection alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct BundleId(pub u32);

/// `onf_bundle_flags`, as they are on the wire.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BundleFlags(pub u16);

impl BundleFlags {
    /// A packet meets all of the bundle or nothing of it.
    pub const ATOMIC: BundleFlags = BundleFlags(1);
    /// Messages are carried out in their order.
    pub const ORDERED: BundleFlags = BundleFlags(2);

    /// Whether there is no other flag than these two.
    pub fn are_known(self) -> bool {
        self.0 & !(BundleFlags::ATOMIC.0 | BundleFlags::ORDERED.0) == 0
    }
}

/// What is to be done with a bundle, or has been (`onf_bundle_ctrl_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BundleStep {
    /// Begin one.
    OpenRequest,
    /// It is begun.
    OpenReply,
    /// Add nothing to it any more.
    CloseRequest,
    /// It is closed.
    CloseReply,
    /// Make its changes.
    CommitRequest,
    /// They are made.
    CommitReply,
    /// Forget it.
    DiscardRequest,
    /// It is forgotten.
    DiscardReply,
}

/// `ONF_ET_BUNDLE_CONTROL`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct BundleControl {
    /// Which.
    pub bundle: BundleId,
    /// What.
    pub step: BundleStep,
    /// How; the same for every message about one bundle.
    pub flags: BundleFlags,
}

/// `ONF_ET_BUNDLE_ADD_MESSAGE`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BundleAdd {
    /// Which.
    pub bundle: BundleId,
    /// How.
    pub flags: BundleFlags,
    /// The message to be carried out later: its bytes, header and all, which decode and are of a
    /// kind that a bundle may hold. Its xid is that of the message around it.
    pub message: Vec<u8>,
}
