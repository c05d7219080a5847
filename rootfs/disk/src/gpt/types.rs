//! Partition types by the Discoverable Partitions Specification, and those that firmware and desk
//! machines know.

use super::Guid;

/// The EFI system partition.
pub const ESP: Guid = Guid::from_u128(0xC12A_7328_F81F_11D2_BA4B_00A0_C93E_C93B);

/// A root filesystem for x86-64.
pub const ROOT_X86_64: Guid = Guid::from_u128(0x4F68_BCE3_E8CD_4DB1_96E7_FBCA_F984_B709);

/// The dm-verity hash tree of a root filesystem for x86-64.
pub const ROOT_X86_64_VERITY: Guid = Guid::from_u128(0x2C73_57ED_EBD2_46D9_AEC1_23D4_37EC_2BF5);

/// A root filesystem for 64-bit ARM.
pub const ROOT_ARM64: Guid = Guid::from_u128(0xB921_B045_1DF0_41C3_AF44_4C6F_280D_3FAE);

/// The dm-verity hash tree of a root filesystem for 64-bit ARM.
pub const ROOT_ARM64_VERITY: Guid = Guid::from_u128(0xDF33_00CE_D69F_4C92_978C_9BFB_0F38_D820);

/// Any Linux filesystem.
pub const LINUX_GENERIC: Guid = Guid::from_u128(0x0FC6_3DAF_8483_4772_8E79_3D69_D847_7DE4);

/// What Windows and macOS show to their users; SEED is one, so that it can be edited anywhere.
pub const BASIC_DATA: Guid = Guid::from_u128(0xEBD0_A0A2_B9E5_4433_87C0_68B6_B726_99C7);

/// The partition is mounted read-only by whoever discovers it.
pub const ATTRIBUTE_READ_ONLY: u64 = 1 << 60;

/// Nothing may mount the partition by itself.
pub const ATTRIBUTE_NO_AUTO: u64 = 1 << 63;

/// STATE has no filesystem of ours yet. The builder sets this bit, and the node clears it once its
/// own filesystem is whole on the disk: only a partition with this bit is ever formatted. Bits 48
/// to 63 belong to whoever defined the type; nobody uses this one for a generic Linux filesystem.
pub const ATTRIBUTE_UNMADE: u64 = 1 << 52;
