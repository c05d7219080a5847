//! The VIP daemon: sockets and netlink around the election of rootfs/vrrp.

fn main() {}
