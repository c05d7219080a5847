//! A software bill of materials: what the image is made of, in the two formats that scanners take.
//!
//! Both follow from the image alone: the date is the manifest's, identities follow from the root
//! hash. So the same image always gives the same document.

use disk::gpt::Guid;
use seed::manifest::{Manifest, OverlayRecord, PackageRecord};
use serde_json::{Value, json};

use super::date::rfc3339;
use crate::image::layout::derived_guid;

/// The two formats.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// SPDX 2.3, as JSON.
    Spdx,
    /// `CycloneDX` 1.6, as JSON.
    CycloneDx,
}

const VERSION: &str = env!("CARGO_PKG_VERSION");

/// The document for an image with this manifest and root hash.
pub fn sbom(format: Format, manifest: &Manifest, verity_root: &str) -> Value {
    match format {
        Format::Spdx => spdx(manifest, verity_root),
        Format::CycloneDx => cyclonedx(manifest, verity_root),
    }
}

fn identity(format: &str, verity_root: &str) -> Guid {
    derived_guid(verity_root.as_bytes(), format)
}

fn spdx(manifest: &Manifest, verity_root: &str) -> Value {
    const ROOT: &str = "SPDXRef-Image";
    const DOCUMENT: &str = "SPDXRef-DOCUMENT";
    let mut packages = vec![spdx_package(
        ROOT,
        &manifest.name,
        &manifest.version,
        &json!({
            "primaryPackagePurpose": "OPERATING-SYSTEM",
            "comment": format!("dm-verity root hash {verity_root}"),
        }),
    )];
    let mut relations = vec![relation(DOCUMENT, "DESCRIBES", ROOT)];
    for record in &manifest.packages {
        let id = format!("SPDXRef-Package-{}", spdx_word(&record.name));
        packages.push(spdx_package(
            &id,
            &record.name,
            &record.version,
            &json!({
                "checksums": [{"algorithm": "SHA256", "checksumValue": record.sha256}],
                "externalRefs": [purl_reference(&purl(record))],
            }),
        ));
        relations.push(relation(ROOT, "CONTAINS", &id));
    }
    for (overlay, version) in versioned(manifest) {
        let id = format!("SPDXRef-Overlay-{}", spdx_word(&overlay.name));
        packages.push(spdx_package(
            &id,
            &overlay.name,
            version,
            &json!({
                "externalRefs": [purl_reference(&generic_purl(&overlay.name, version))],
            }),
        ));
        relations.push(relation(ROOT, "CONTAINS", &id));
    }
    json!({
        "spdxVersion": "SPDX-2.3",
        "dataLicense": "CC0-1.0",
        "SPDXID": DOCUMENT,
        "name": format!("{}-{}", manifest.name, manifest.version),
        "documentNamespace": format!("urn:uuid:{}", identity("spdx", verity_root)),
        "creationInfo": {
            "created": rfc3339(manifest.source_date),
            "creators": [format!("Tool: edgepair-builder-{VERSION}")],
        },
        "packages": packages,
        "relationships": relations,
    })
}

fn spdx_package(id: &str, name: &str, version: &str, more: &Value) -> Value {
    let mut package = json!({
        "SPDXID": id,
        "name": name,
        "versionInfo": version,
        "downloadLocation": "NOASSERTION",
        "filesAnalyzed": false,
        "licenseConcluded": "NOASSERTION",
        "licenseDeclared": "NOASSERTION",
        "copyrightText": "NOASSERTION",
    });
    if let (Some(package), Some(more)) = (package.as_object_mut(), more.as_object()) {
        package.extend(more.clone());
    }
    package
}

fn purl_reference(purl: &str) -> Value {
    json!({
        "referenceCategory": "PACKAGE-MANAGER",
        "referenceType": "purl",
        "referenceLocator": purl,
    })
}

/// Identifiers have letters, digits, dots and hyphens; each other character becomes its number, so
/// that `libstdc++6` and `libstdc--6` stay apart.
fn spdx_word(name: &str) -> String {
    name.chars()
        .map(|c| match c {
            c if c.is_ascii_alphanumeric() || c == '.' || c == '-' => c.to_string(),
            c => format!("-x{:x}-", u32::from(c)),
        })
        .collect()
}

fn cyclonedx(manifest: &Manifest, verity_root: &str) -> Value {
    const ROOT: &str = "image";
    let mut components = Vec::new();
    for record in &manifest.packages {
        let purl = purl(record);
        components.push(json!({
            "type": "library",
            "bom-ref": purl,
            "name": record.name,
            "version": record.version,
            "purl": purl,
            "hashes": [{"alg": "SHA-256", "content": record.sha256}],
        }));
    }
    for (overlay, version) in versioned(manifest) {
        let purl = generic_purl(&overlay.name, version);
        components.push(json!({
            "type": "application",
            "bom-ref": purl,
            "name": overlay.name,
            "version": version,
            "purl": purl,
        }));
    }
    let parts: Vec<Value> = components.iter().map(|one| one["bom-ref"].clone()).collect();
    json!({
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": format!("urn:uuid:{}", identity("cyclonedx", verity_root)),
        "version": 1,
        "metadata": {
            "timestamp": rfc3339(manifest.source_date),
            "tools": {"components": [{
                "type": "application", "name": "edgepair-builder", "version": VERSION,
            }]},
            "component": {
                "type": "operating-system",
                "bom-ref": ROOT,
                "name": manifest.name,
                "version": manifest.version,
                "properties": [{"name": "edgepair:verity-root", "value": verity_root}],
            },
        },
        "components": components,
        "dependencies": [{"ref": ROOT, "dependsOn": parts}],
    })
}

/// Overlays that bring something with a version of its own, such as K3s.
fn versioned(manifest: &Manifest) -> impl Iterator<Item = (&OverlayRecord, &str)> {
    let overlays = manifest.overlays.iter();
    overlays.filter_map(|overlay| Some((overlay, overlay.version.as_deref()?)))
}

/// The package URL of a Debian package.
pub fn purl(record: &PackageRecord) -> String {
    let PackageRecord { name, version, architecture, .. } = record;
    format!("pkg:deb/debian/{}@{}?arch={}", encoded(name), encoded(version), encoded(architecture))
}

fn generic_purl(name: &str, version: &str) -> String {
    format!("pkg:generic/{}@{}", encoded(name), encoded(version))
}

/// Percent-encoding as package URLs want it.
fn encoded(text: &str) -> String {
    text.bytes()
        .map(|byte| match byte {
            b'A'..=b'Z' | b'a'..=b'z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' | b':' => {
                char::from(byte).to_string()
            }
            _ => format!("%{byte:02X}"),
        })
        .collect()
}

/// One edge of an SPDX document's graph.
fn relation(from: &str, kind: &str, to: &str) -> Value {
    json!({
        "spdxElementId": from,
        "relationshipType": kind,
        "relatedSpdxElement": to,
    })
}
