use std::io;

use tidewire_topic::is_canonical_url;

use super::RecordIndex;
use super::filter::Filter;
use super::layout::{INDEX_NEW, Indexed, Sizes, encode_header, index_name};
use super::open::OpenIndex;
use super::pages::PageWriter;
use crate::file::disk::{Disk, DiskFile};

/// Writes the index of a segment to its file, in place of one that is there, durably, and returns how many bytes
/// it takes. After an error, one of the two is there, or none.
pub(crate) fn write_index<D: Disk>(disk: &D, of: &Indexed, index: &OpenIndex) -> io::Result<u64> {
    let file = disk.create(INDEX_NEW)?;
    write(&file, of, index)?;
    file.sync()?;
    let bytes = file.length()?;
    disk.rename(INDEX_NEW, &index_name(of.first_sequence))?;
    disk.sync_names()?;
    Ok(bytes)
}

fn write(file: &impl DiskFile, of: &Indexed, index: &OpenIndex) -> io::Result<()> {
    let number = |count: usize| u32::try_from(count).map_err(io::Error::other);
    let sorted = index.names.sorted();
    let is_other = |&(_, &topic): &(u32, &u32)| !is_canonical_url(index.names.name(topic));
    let others: Vec<u32> = (0..).zip(&sorted).filter(is_other).map(|(place, _)| place).collect();
    let sizes = Sizes {
        records: index.records(),
        topics: number(index.names.len())?,
        publications: number(index.publications.len())?,
        names_bytes: number(index.names.bytes())?,
        postings: number(index.chains.len())?,
        others: number(others.len())?,
    };
    file.write_at(&encode_header(of, &sizes), 0)?;
    let mut out = PageWriter::new(file, of);
    for offset in &index.offsets {
        out.put(&offset.to_le_bytes())?;
    }
    for mark in &index.marks {
        out.put(&mark.after.ms.to_le_bytes())?;
        out.put(&mark.after.seq.to_le_bytes())?;
        out.put(&u32::try_from(mark.at).map_err(io::Error::other)?.to_le_bytes())?;
        out.put(&u32::try_from(mark.group_end).map_err(io::Error::other)?.to_le_bytes())?;
    }
    put_topics(&mut out, index, &sorted)?;
    for &topic in &sorted {
        out.put(index.names.name(topic).as_bytes())?;
    }
    for place in others {
        out.put(&place.to_le_bytes())?;
    }
    let mut postings = Vec::new();
    for &topic in &sorted {
        let topic = index.topics[topic as usize];
        postings.clear();
        index.chains.extend(topic.newest, 0..topic.count, &mut postings);
        for record in &postings {
            out.put(&record.to_le_bytes())?;
        }
    }
    let publications = index.publications.sorted();
    for publication in &publications {
        out.put(&publication.id.to_le_bytes())?;
        out.put(&publication.topic.to_le_bytes())?;
        out.put(&publication.record.to_le_bytes())?;
    }
    let topics = sorted.iter().map(|&topic| index.hash.name(index.names.name(topic)));
    out.put(Filter::new(sizes.topics.into(), topics).as_bytes())?;
    let keys = publications.iter().flat_map(|p| [p.id, index.hash.publication(p.id, p.topic)]);
    out.put(Filter::new(sizes.publication_keys(), keys).as_bytes())?;
    out.finish()
}

fn put_topics<F: DiskFile>(out: &mut PageWriter<'_, F>, index: &OpenIndex, sorted: &[u32]) -> io::Result<()> {
    let (mut name_at, mut first) = (0, 0);
    for &number in sorted {
        let topic = index.topics[number as usize];
        let name_bytes = u32::try_from(index.names.name(number).len()).map_err(io::Error::other)?;
        for field in [name_at, name_bytes, first, topic.count, topic.private] {
            out.put(&field.to_le_bytes())?;
        }
        name_at += name_bytes;
        first += topic.count;
    }
    Ok(())
}
