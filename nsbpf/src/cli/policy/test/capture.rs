//! Packets of a capture.

use std::fs::File;
use std::path::Path;

use anyhow::{Context as _, bail};
use pcap_parser::traits::PcapNGPacketBlock;
use pcap_parser::{Block, Linktype, PcapBlockOwned, PcapError, create_reader};

/// Bytes that are read at once.
const CHUNK: usize = 1 << 16;
/// Bytes of the longest part of a capture that is read.
const LONGEST: usize = 1 << 24;

/// Calls for each frame of a capture, classic or next generation.
pub(super) fn each(
    file: &Path,
    mut see: impl FnMut(&[u8]) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    let name = file.display();
    let opened = File::open(file).with_context(|| format!("open the capture {name}"))?;
    let mut reader = create_reader(CHUNK, opened)
        .map_err(|error| anyhow::anyhow!("read the capture {name}: {}", told(&error)))?;
    // The links of interfaces, in the order in which a section describes them.
    let mut links: Vec<Linktype> = Vec::new();
    let mut room = CHUNK;
    loop {
        let used = match reader.next() {
            Ok((used, block)) => {
                if let Some((data, link)) = packet(&block, &mut links) {
                    if link != Some(Linktype::ETHERNET) {
                        bail!(
                            "the capture {name} has packets of no Ethernet: capture on one interface, not on `any`"
                        );
                    }
                    see(data)?;
                }
                used
            }
            Err(PcapError::Eof) => return Ok(()),
            Err(PcapError::Incomplete(_)) => {
                if reader.reader_exhausted() {
                    bail!("the capture {name} ends within a packet");
                }
                if let Err(error) = reader.refill() {
                    bail!("read the capture {name}: {}", told(&error));
                }
                continue;
            }
            Err(PcapError::BufferTooSmall) if room < LONGEST => {
                room *= 2;
                reader.grow(room);
                continue;
            }
            Err(error) => bail!("read the capture {name}: {}", told(&error)),
        };
        reader.consume(used);
    }
}

/// The bytes of a packet, and the link that it was on; `None` of what is no packet.
fn packet<'a>(
    block: &'a PcapBlockOwned<'_>,
    links: &mut Vec<Linktype>,
) -> Option<(&'a [u8], Option<Linktype>)> {
    match block {
        PcapBlockOwned::LegacyHeader(header) => {
            *links = vec![header.network];
            None
        }
        PcapBlockOwned::Legacy(packet) => Some((packet.data, links.first().copied())),
        PcapBlockOwned::NG(Block::SectionHeader(_)) => {
            links.clear();
            None
        }
        PcapBlockOwned::NG(Block::InterfaceDescription(interface)) => {
            links.push(interface.linktype);
            None
        }
        PcapBlockOwned::NG(Block::EnhancedPacket(packet)) => {
            let link = usize::try_from(packet.if_id).ok().and_then(|at| links.get(at));
            Some((packet.packet_data(), link.copied()))
        }
        PcapBlockOwned::NG(Block::SimplePacket(packet)) => {
            Some((packet.packet_data(), links.first().copied()))
        }
        PcapBlockOwned::NG(_) => None,
    }
}

fn told(error: &PcapError<&[u8]>) -> &'static str {
    match error {
        PcapError::Eof => "it is empty",
        PcapError::BufferTooSmall => "it has a packet that is too long",
        PcapError::UnexpectedEof | PcapError::Incomplete(_) => "it ends too early",
        PcapError::ReadError => "the file cannot be read",
        PcapError::HeaderNotRecognized => "it is no capture, neither pcap nor pcapng",
        PcapError::NomError(..) | PcapError::OwnedNomError(..) => "it is damaged",
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use super::*;

    fn frames(capture: &[u8]) -> anyhow::Result<Vec<Vec<u8>>> {
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(capture).unwrap();
        let mut frames = Vec::new();
        each(file.path(), |frame| {
            frames.push(frame.to_vec());
            Ok(())
        })?;
        Ok(frames)
    }

    fn classic(link: u32, frames: &[&[u8]]) -> Vec<u8> {
        let mut capture = Vec::new();
        for word in [0xa1b2_c3d4_u32, 0x0004_0002, 0, 0, 65_535, link] {
            capture.extend(word.to_le_bytes());
        }
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            for word in [0, 0, length, length] {
                capture.extend(word.to_le_bytes());
            }
            capture.extend(*frame);
        }
        capture
    }

    /// A block of pcapng, padded.
    fn block(kind: u32, body: &[&[u8]]) -> Vec<u8> {
        let mut body = body.concat();
        body.resize(body.len().next_multiple_of(4), 0);
        let length = u32::try_from(body.len() + 12).unwrap().to_le_bytes();
        [&kind.to_le_bytes(), &length, &body[..], &length].concat()
    }

    fn next_generation(frames: &[&[u8]]) -> Vec<u8> {
        let words =
            |words: &[u32]| words.iter().flat_map(|word| word.to_le_bytes()).collect::<Vec<u8>>();
        let mut capture = block(0x0a0d_0d0a, &[&words(&[0x1a2b_3c4d, 1, u32::MAX, u32::MAX])]);
        // Of another link, and of Ethernet.
        capture.extend(block(1, &[&words(&[113, 0])]));
        capture.extend(block(1, &[&words(&[1, 0])]));
        for frame in frames {
            let length = u32::try_from(frame.len()).unwrap();
            capture.extend(block(6, &[&words(&[1, 0, 0, length, length]), frame]));
        }
        capture
    }

    #[test]
    fn both_formats_are_read() {
        let long = vec![7; 200_000];
        let wanted: [&[u8]; 3] = [b"first", &long, b"last"];
        assert_eq!(frames(&classic(1, &wanted)).unwrap(), wanted);
        assert_eq!(frames(&next_generation(&wanted)).unwrap(), wanted);
    }

    #[test]
    fn what_is_no_capture_of_ethernet_is_refused() {
        let cut = |mut capture: Vec<u8>| {
            capture.truncate(capture.len() - 2);
            capture
        };
        for (capture, why) in [
            (Vec::new(), "it is empty"),
            (b"name: a lab, which is text and no capture".to_vec(), "it is no capture"),
            (classic(113, &[b"cooked"]), "of no Ethernet"),
            (cut(classic(1, &[b"frame"])), "ends"),
            (cut(next_generation(&[b"frame"])), "ends"),
        ] {
            let error = frames(&capture).unwrap_err().to_string();
            assert!(error.contains(why), "{error}");
        }
    }
}
