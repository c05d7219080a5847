//! The command line of one virtual machine. Pure: a value goes in, arguments come out.

use std::ffi::OsString;
use std::path::PathBuf;

/// How guest code is run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Acceleration {
    Kvm,
    /// QEMU's own translator: slower, and there wherever QEMU is.
    Tcg,
}

/// How the machine finds its kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Start {
    /// QEMU loads the kernel itself, which saves the firmware's seconds.
    Direct { kernel: PathBuf, initramfs: Option<PathBuf>, command_line: String },
    /// As on hardware: firmware, boot loader, kernel. `variables` is written to.
    Uefi { firmware: PathBuf, variables: PathBuf },
}

/// Where the guest's serial console goes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Console {
    /// This terminal; Ctrl-A X ends the machine.
    Terminal,
    /// Standard output alone, for programs that read it.
    Output,
}

/// One network card.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Card {
    pub mac: String,
    /// A network backend as QEMU's `-netdev` takes it, without its `id`.
    pub backend: String,
}

/// What a disk hangs on, as hardware has it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Bus {
    #[default]
    Virtio,
    Nvme,
    Sata,
    Usb,
    /// A card behind an SD controller; soldered flash (eMMC), which QEMU doesn't let us choose, hangs
    /// on the same one and has the same drivers. The size must be a power of two.
    Sd,
}

/// What keeps a disk's content.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Storage {
    #[default]
    RawFile,
    /// A server that speaks NBD, behind a unix socket.
    NbdSocket,
}

/// One disk.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Disk {
    /// The file or the socket.
    pub file: PathBuf,
    pub storage: Storage,
    pub bus: Bus,
    /// The firmware starts from this one, wherever it stands among them.
    pub boots_first: bool,
}

impl From<PathBuf> for Disk {
    fn from(file: PathBuf) -> Self {
        Self { file, storage: Storage::default(), bus: Bus::default(), boots_first: false }
    }
}

/// A line to a program in the guest that is no network: a port of virtio-serial.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Channel {
    /// What the guest finds it by.
    pub name: String,
    /// A unix socket on which somebody listens already.
    pub socket: PathBuf,
}

/// One virtual machine.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(clippy::struct_excessive_bools)] // What is plugged in and how it starts, each independent.
pub struct Machine {
    pub name: String,
    pub acceleration: Acceleration,
    pub memory_mib: u32,
    pub processors: u32,
    pub start: Start,
    /// The machine's own first, then what is plugged into it.
    pub disks: Vec<Disk>,
    pub cards: Vec<Card>,
    pub channels: Vec<Channel>,
    pub console: Console,
    /// Empty sockets, for what is plugged in while the machine runs: a USB controller `usb`, and a
    /// PCI Express port `socket`.
    pub sockets: bool,
    /// A watchdog card, an Intel 6300ESB: it resets the machine when it isn't fed.
    pub watchdog: bool,
    /// A unix socket for QEMU's control protocol.
    pub control: Option<PathBuf>,
    /// What the battery-backed clock shows at the start, such as `1970-01-01`; else the time it is.
    pub clock: Option<String>,
    /// End QEMU when the guest restarts, instead of starting it again.
    pub end_on_restart: bool,
    /// Wait for a saved guest instead of starting one, and don't let it run before it is told to.
    pub incoming: bool,
}

impl Machine {
    /// The arguments behind the program's name.
    pub fn arguments(&self) -> Vec<OsString> {
        let mut arguments = Arguments::default();
        arguments.flag("-nodefaults").flag("-no-user-config");
        arguments.pair("-name", &self.name).pair("-display", "none");
        // The chip's own SATA controller would cost each boot the time of probing its six ports.
        let sata = self.has(Bus::Sata);
        arguments.pair("-machine", if sata { "q35" } else { "q35,sata=off" });
        match self.acceleration {
            Acceleration::Kvm => arguments.pair("-accel", "kvm").pair("-cpu", "host"),
            Acceleration::Tcg => arguments.pair("-accel", "tcg,thread=multi").pair("-cpu", "max"),
        };
        arguments.pair("-m", self.memory_mib.to_string());
        arguments.pair("-smp", self.processors.to_string());
        arguments.pair("-device", "virtio-rng-pci");
        if let Some(clock) = &self.clock {
            arguments.pair("-rtc", format!("base={clock}"));
        }
        match self.console {
            Console::Terminal => arguments.pair("-serial", "mon:stdio"),
            Console::Output => arguments.pair("-serial", "stdio"),
        };
        self.start_arguments(&mut arguments);
        if self.sockets || self.has(Bus::Usb) {
            arguments.pair("-device", "qemu-xhci,id=usb");
        }
        if self.sockets {
            arguments.pair("-device", "pcie-root-port,id=socket,chassis=1");
        }
        if self.watchdog {
            arguments.pair("-device", "i6300esb");
        }
        for (number, disk) in self.disks.iter().enumerate() {
            disk_arguments(number, disk, &mut arguments);
        }
        for (number, card) in self.cards.iter().enumerate() {
            arguments.pair("-netdev", format!("{},id=net{number}", card.backend));
            let device = format!("virtio-net-pci,netdev=net{number},mac={},romfile=", card.mac);
            arguments.pair("-device", device);
        }
        self.channel_arguments(&mut arguments);
        if let Some(control) = &self.control {
            let socket = format!("unix:{},server=on,wait=off", escaped(control));
            arguments.pair("-qmp", socket);
        }
        if self.end_on_restart {
            arguments.flag("-no-reboot");
        }
        if self.incoming {
            arguments.pair("-incoming", "defer").flag("-S");
        }
        arguments.list
    }

    fn has(&self, bus: Bus) -> bool {
        self.disks.iter().any(|disk| disk.bus == bus)
    }

    fn channel_arguments(&self, arguments: &mut Arguments) {
        if !self.channels.is_empty() {
            arguments.pair("-device", "virtio-serial-pci,id=channels");
        }
        for (number, channel) in self.channels.iter().enumerate() {
            let socket = escaped(&channel.socket);
            arguments.pair("-chardev", format!("socket,id=channel{number},path={socket}"));
            let name = &channel.name;
            let port = format!("virtserialport,bus=channels.0,chardev=channel{number},name={name}");
            arguments.pair("-device", port);
        }
    }

    fn start_arguments(&self, arguments: &mut Arguments) {
        match &self.start {
            Start::Direct { kernel, initramfs, command_line } => {
                arguments.pair("-kernel", kernel).pair("-append", command_line);
                if let Some(initramfs) = initramfs {
                    arguments.pair("-initrd", initramfs);
                }
            }
            Start::Uefi { firmware, variables } => {
                let flash = |unit: u8, file: &PathBuf, access: &str| {
                    format!("if=pflash,unit={unit},format=raw,{access}file={}", escaped(file))
                };
                arguments.pair("-drive", flash(0, firmware, "readonly=on,"));
                arguments.pair("-drive", flash(1, variables, ""));
            }
        }
    }
}

fn disk_arguments(number: usize, disk: &Disk, arguments: &mut Arguments) {
    let file = escaped(&disk.file);
    let (source, device_options) = match disk.storage {
        Storage::RawFile => (format!("file={file}"), ""),
        // What the server refuses is the guest's to handle; QEMU would pause it when space runs out.
        Storage::NbdSocket => (
            format!("file.driver=nbd,file.server.type=unix,file.server.path={file}"),
            ",rerror=report,werror=report",
        ),
    };
    arguments.pair("-drive", format!("{source},format=raw,if=none,id=disk{number}"));
    let order = if disk.boots_first { ",bootindex=0" } else { "" };
    let drive = format!("drive=disk{number}{device_options}{order}");
    let device = match disk.bus {
        Bus::Virtio => format!("virtio-blk-pci,{drive}"),
        Bus::Nvme => format!("nvme,serial=disk{number},{drive}"),
        Bus::Sata => format!("ide-hd,bus=ide.{number},{drive}"),
        Bus::Usb => format!("usb-storage,bus=usb.0,{drive}"),
        Bus::Sd => {
            arguments.pair("-device", "sdhci-pci");
            format!("sd-card,{drive}")
        }
    };
    arguments.pair("-device", device);
}

/// QEMU splits these values at commas; a doubled comma is one that belongs to the value.
fn escaped(path: &std::path::Path) -> String {
    path.display().to_string().replace(',', ",,")
}

#[derive(Default)]
struct Arguments {
    list: Vec<OsString>,
}

impl Arguments {
    fn flag(&mut self, flag: &str) -> &mut Self {
        self.list.push(flag.into());
        self
    }

    fn pair(&mut self, name: &str, value: impl Into<OsString>) -> &mut Self {
        self.list.push(name.into());
        self.list.push(value.into());
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn machine(start: Start) -> Machine {
        Machine {
            name: "node1".to_owned(),
            acceleration: Acceleration::Tcg,
            memory_mib: 512,
            processors: 2,
            start,
            disks: vec![PathBuf::from("/out/a,b.raw").into()],
            sockets: false,
            watchdog: false,
            cards: vec![Card { mac: "52:54:00:00:00:01".to_owned(), backend: "user".to_owned() }],
            channels: Vec::new(),
            console: Console::Output,
            control: None,
            clock: None,
            end_on_restart: true,
            incoming: false,
        }
    }

    fn line(machine: &Machine) -> String {
        let words: Vec<String> =
            machine.arguments().iter().map(|word| word.to_string_lossy().into_owned()).collect();
        words.join(" ")
    }

    #[test]
    fn a_direct_start_names_kernel_and_command_line() {
        let start = Start::Direct {
            kernel: "/k".into(),
            initramfs: Some("/i".into()),
            command_line: "console=ttyS0".to_owned(),
        };
        let line = line(&machine(start));
        assert!(line.contains("-kernel /k -append console=ttyS0 -initrd /i"), "{line}");
        assert!(line.contains("-accel tcg,thread=multi -cpu max"), "{line}");
        assert!(line.contains("netdev=net0,mac=52:54:00:00:00:01"), "{line}");
        assert!(line.ends_with("-no-reboot"), "{line}");
    }

    #[test]
    fn a_clock_of_its_own_is_said_only_if_there_is_one() {
        let start = Start::Uefi { firmware: "/f".into(), variables: "/v".into() };
        let usual = machine(start);
        assert!(!line(&usual).contains("-rtc"));
        let stopped = Machine { clock: Some("1970-01-01".to_owned()), ..usual };
        assert!(line(&stopped).contains("-rtc base=1970-01-01"), "{}", line(&stopped));
    }

    #[test]
    fn commas_in_paths_are_doubled_as_qemu_wants_it() {
        let start = Start::Uefi { firmware: "/f,1".into(), variables: "/v".into() };
        let line = line(&machine(start));
        assert!(line.contains("file=/out/a,,b.raw,format=raw"), "{line}");
        assert!(line.contains("unit=0,format=raw,readonly=on,file=/f,,1"), "{line}");
        assert!(line.contains("unit=1,format=raw,file=/v"), "{line}");
    }

    #[test]
    fn a_served_disk_reports_its_errors_and_a_channel_has_its_port() {
        let start = Start::Uefi { firmware: "/f".into(), variables: "/v".into() };
        let usual = machine(start);
        assert!(!line(&usual).contains("virtio-serial"), "{}", line(&usual));
        let mut served = usual;
        served.disks[0].storage = Storage::NbdSocket;
        served.channels = vec![Channel { name: "probe".to_owned(), socket: "/p,1".into() }];
        let line = line(&served);
        let drive = "-drive file.driver=nbd,file.server.type=unix,file.server.path=/out/a,,b.raw,";
        assert!(line.contains(drive), "{line}");
        assert!(line.contains("drive=disk0,rerror=report,werror=report"), "{line}");
        assert!(line.contains("-chardev socket,id=channel0,path=/p,,1"), "{line}");
        assert!(line.contains("bus=channels.0,chardev=channel0,name=probe"), "{line}");
    }

    #[test]
    fn the_firmware_is_told_where_to_start_only_if_it_matters() {
        let start = Start::Uefi { firmware: "/f".into(), variables: "/v".into() };
        let mut machine = machine(start);
        machine.disks.push(PathBuf::from("/own.raw").into());
        assert!(!line(&machine).contains("bootindex"), "{}", line(&machine));
        machine.disks[1].boots_first = true;
        let line = line(&machine);
        assert!(line.contains("virtio-blk-pci,drive=disk1,bootindex=0"), "{line}");
    }

    #[test]
    fn a_saved_guest_is_waited_for() {
        let start = Start::Uefi { firmware: "/f".into(), variables: "/v".into() };
        let usual = machine(start);
        assert!(!line(&usual).contains("-incoming"));
        let saved = Machine { incoming: true, ..usual };
        assert!(line(&saved).ends_with("-incoming defer -S"), "{}", line(&saved));
    }

    #[test]
    fn each_bus_has_its_controller_and_nothing_else_costs_time() {
        let start = Start::Uefi { firmware: "/f".into(), variables: "/v".into() };
        let mut machine = machine(start);
        assert!(line(&machine).contains("q35,sata=off"));
        let mut on = |bus| {
            machine.disks[0].bus = bus;
            line(&machine)
        };
        assert!(on(Bus::Nvme).contains("nvme,serial=disk0,drive=disk0"));
        let sata = on(Bus::Sata);
        assert!(sata.contains("-machine q35 ") && sata.contains("ide-hd,bus=ide.0"), "{sata}");
        let usb = on(Bus::Usb);
        assert!(usb.find("qemu-xhci,id=usb") < usb.find("usb-storage,bus=usb.0"), "{usb}");
        let card = on(Bus::Sd);
        assert!(card.contains("sdhci-pci -device sd-card,drive=disk0"), "{card}");
        assert!(!card.contains("xhci"), "{card}");
    }
}
