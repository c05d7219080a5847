//! The disk image: ext4, dm-verity, UKI, ESP and GPT, from a tree in memory.
