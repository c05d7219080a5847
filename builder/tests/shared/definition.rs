//! The definition of an image that is small and has nothing special.

/// A definition as a file in `images/` has it, named `tiny`. The sizes are in MiB: of a slot, of
/// the seed's partition and of the state's.
pub(crate) fn definition_text(overlays: &[&str], [slot, seed, state]: [u32; 3]) -> String {
    format!(
        r#"
name = "tiny"
summary = "for tests"
version = "1.2.3"
architecture = "amd64"
overlays = {overlays:?}
[debian]
suites = ["trixie"]
[kernel]
package = "linux-image-tiny"
early_modules = []
command_line = ["console=ttyS0", "quiet"]
[partitions]
esp = "34MiB"
slot = "{slot}MiB"
seed = "{seed}MiB"
state = "{state}MiB"
"#
    )
}
