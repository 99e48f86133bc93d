//! Values separated by commas, tabs, semicolons or bars, plain or packed with gzip.

use std::io::Read;

use csv::{ByteRecord, ReaderBuilder, Trim};

use super::source::{LIMIT, error_of, line_at, open};
use super::{DataError, DataSet, Features, Owners, Targets};
use crate::catalog::{Column, Columns};

/// Whether the first row names the columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Header {
    /// It does where none of its cells is a number.
    #[default]
    Auto,
    /// It does.
    Present,
    /// It is data.
    Absent,
}

/// How the columns of a file make a data set.
#[derive(Debug, Clone, PartialEq)]
pub struct CsvOptions {
    /// The columns of the features.
    pub features: Columns,
    /// The column of what is to be predicted.
    pub target: Column,
    /// Whether that is a number and not a class.
    pub regression: bool,
    /// The column that names the owner of an example.
    pub owner: Option<Column>,
    /// What every feature is multiplied by.
    pub scale: f64,
    /// Whether the first row names the columns.
    pub header: Header,
}

/// The numbers of the columns that are read.
struct Chosen {
    features: Vec<usize>,
    target: usize,
    owner: Option<usize>,
}

impl CsvOptions {
    /// The columns in a file like that; fails where it does not have them, or the options make no sense.
    fn choose(&self, file: &Preview) -> Result<Chosen, DataError> {
        if !self.scale.is_finite() {
            return Err(DataError::Scale(self.scale));
        }
        let features = match &self.features {
            Columns::Range { first, end } if first >= end => return Err(DataError::NoFeatures),
            Columns::Range { first, end } => {
                let last = file.at("features", end - 1)?;
                (*first as usize..=last).collect()
            }
            Columns::Named { names } => {
                names.iter().map(|name| file.named("features", name)).collect::<Result<Vec<_>, _>>()?
            }
        };
        let one = |role, column: &Column| match column {
            Column::At { number } => file.at(role, *number),
            Column::Named { name } => file.named(role, name),
        };
        let target = one(if self.regression { "target" } else { "label" }, &self.target)?;
        if features.contains(&target) {
            return Err(DataError::LabelIsFeature(target));
        }
        let owner = self.owner.as_ref().map(|column| one("owner", column)).transpose()?;
        Ok(Chosen { features, target, owner })
    }
}

/// The beginning of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Preview {
    /// The number of columns of the first row.
    pub columns: usize,
    /// The names of the columns, where the first row is a header.
    pub names: Option<Vec<String>>,
    /// The first rows of data, at most five; bytes that are no UTF-8 are replaced.
    pub rows: Vec<Vec<String>>,
}

impl Preview {
    /// The column of that number.
    fn at(&self, role: &'static str, number: u64) -> Result<usize, DataError> {
        let (columns, blanks) = (self.columns, self.blanks());
        let column = usize::try_from(number).unwrap_or(usize::MAX);
        if column < columns { Ok(column) } else { Err(DataError::NoSuchColumn { role, column, columns, blanks }) }
    }

    /// The column of that name.
    fn named(&self, role: &'static str, name: &str) -> Result<usize, DataError> {
        let names = self.names.as_deref().unwrap_or_default();
        let mut found = names.iter().enumerate().filter(|(_, other)| *other == name);
        match (found.next(), found.next()) {
            (Some((column, _)), None) => Ok(column),
            (first, _) => {
                let some: Vec<&str> = names.iter().take(20).map(String::as_str).collect();
                let more = if names.len() > some.len() { ", ..." } else { "" };
                let there = format!("{}{more}", some.join(", "));
                Err(DataError::NoSuchName { role, name: name.to_owned(), twice: first.is_some(), there })
            }
        }
    }

    /// Whether blanks seem to separate the values of the first row.
    fn blanks(&self) -> bool {
        let first = self.names.as_ref().or(self.rows.first());
        first.is_some_and(|first| matches!(&first[..], [cell] if cell.contains(' ')))
    }
}

/// The first rows of a file, read without reading the rest.
pub fn preview(bytes: &[u8], header: Header) -> Result<Preview, DataError> {
    Rows::start(bytes, header, LIMIT)?.preview(5)
}

/// The data set in the bytes of a file. Empty lines are skipped and blanks around values ignored.
///
/// Labels are whole numbers or, all of them, names of classes. Fails where the options do not fit the file, a row is longer or shorter
/// than the first, a feature is not a finite number, a label neither, or a packed file is damaged or holds more than 1 GiB.
pub fn read_csv(bytes: &[u8], options: &CsvOptions) -> Result<DataSet, DataError> {
    read_within(bytes, options, LIMIT)
}

fn read_within(bytes: &[u8], options: &CsvOptions, limit: u64) -> Result<DataSet, DataError> {
    let chosen = options.choose(&Rows::start(bytes, options.header, limit)?.preview(1)?)?;
    let mut rows = Rows::start(bytes, options.header, limit)?;
    let (mut features, mut labels, mut numbers, mut owners) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    // The names of classes, and the line of the first.
    let (mut names, mut named) = (Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let line = || rows.line(&row);
        let fault = |column: usize| DataError::Number { line: line(), column, found: shown(&row[column]) };
        for &column in &chosen.features {
            let scaled = number(&row[column]).map(|x| x * options.scale).filter(|x| x.is_finite());
            features.push(scaled.ok_or_else(|| fault(column))?);
        }
        let column = chosen.target;
        let target = number(&row[column]).filter(|x| x.is_finite());
        if options.regression {
            numbers.push(target.ok_or_else(|| fault(column))?);
        } else if labels.is_empty() && is_name(&row[column]) {
            if names.is_empty() {
                named = line();
            }
            names.push(String::from_utf8_lossy(&row[column]).into_owned());
        } else if let (Some(name), false) = (names.first(), row[column].is_empty()) {
            // A number among names: the first name is the odd one.
            return Err(DataError::Label { line: named, column, found: shown(name.as_bytes()) });
        } else {
            let label = target.filter(|x| x.fract() == 0.0 && (0.0..=f64::from(u32::MAX)).contains(x));
            let fault = || DataError::Label { line: line(), column, found: shown(&row[column]) };
            labels.push(label.ok_or_else(fault)? as u32);
        }
        owners.extend(chosen.owner.map(|column| String::from_utf8_lossy(&row[column]).into_owned()));
    }
    let targets = match options.regression {
        true => Targets::Numbers(numbers),
        false if names.is_empty() => Targets::classes(labels),
        false => Targets::named(&names),
    };
    Ok(DataSet {
        features: Features::double(&[chosen.features.len()], features),
        targets,
        owners: chosen.owner.map(|_| Owners::from_names(&owners)),
    })
}

/// The number that a cell holds; infinities and NaN are words to the parser and are left to the caller.
fn number(cell: &[u8]) -> Option<f64> {
    std::str::from_utf8(cell).ok()?.parse().ok()
}

/// Whether a cell can be the name of a class.
fn is_name(cell: &[u8]) -> bool {
    !cell.is_empty() && number(cell).is_none()
}

/// The beginning of a cell, for a message.
fn shown(cell: &[u8]) -> String {
    let text = String::from_utf8_lossy(cell);
    let start: String = text.chars().take(40).collect();
    if start.len() < text.len() { format!("{start}...") } else { start }
}

/// What may stand between values in place of commas.
const SEPARATORS: [u8; 3] = *b"\t;|";

/// The rows of data of a file, all of one length.
struct Rows<'a> {
    bytes: &'a [u8],
    reader: csv::Reader<Box<dyn Read + 'a>>,
    columns: usize,
    names: Option<Vec<String>>,
    /// The first row, where it was read to see whether it is a header and is not.
    first: Option<ByteRecord>,
}

impl<'a> Rows<'a> {
    /// Values are separated by commas or, where the first row has none, by what it has of [`SEPARATORS`].
    fn start(bytes: &'a [u8], header: Header, limit: u64) -> Result<Rows<'a>, DataError> {
        let (mut rows, mut first) = Rows::separated(bytes, b',', limit)?;
        let other = SEPARATORS.into_iter().find(|other| first.as_slice().contains(other));
        if let (1, Some(other)) = (first.len(), other) {
            (rows, first) = Rows::separated(bytes, other, limit)?;
        }
        rows.columns = first.len();
        let named = match header {
            Header::Present => true,
            Header::Absent => false,
            Header::Auto => first.iter().all(|cell| number(cell).is_none()),
        };
        if named {
            rows.names = Some(texts(&first));
        } else {
            rows.first = Some(first);
        }
        Ok(rows)
    }

    /// The rows of a file with that separator, and the first of them.
    fn separated(bytes: &'a [u8], separator: u8, limit: u64) -> Result<(Rows<'a>, ByteRecord), DataError> {
        let mut builder = ReaderBuilder::new();
        // Rows of another length are let through here and reported with their line.
        builder.has_headers(false).flexible(true).trim(Trim::All).delimiter(separator);
        let mut rows =
            Rows { bytes, reader: builder.from_reader(open(bytes, limit)), columns: 0, names: None, first: None };
        let first = rows.read()?.ok_or(DataError::Empty)?;
        Ok((rows, first))
    }

    /// The next row; fails on one of another length.
    fn next(&mut self) -> Result<Option<ByteRecord>, DataError> {
        let next = match self.first.take() {
            Some(first) => Some(first),
            None => self.read()?,
        };
        match next {
            Some(row) if row.len() != self.columns => {
                Err(DataError::Ragged { line: self.line(&row), found: row.len(), expected: self.columns })
            }
            other => Ok(other),
        }
    }

    fn read(&mut self) -> Result<Option<ByteRecord>, DataError> {
        let mut row = ByteRecord::new();
        let more = self.reader.read_byte_record(&mut row).map_err(error_of)?;
        Ok(more.then_some(row))
    }

    /// The line where a row begins.
    fn line(&self, row: &ByteRecord) -> u64 {
        line_at(self.bytes, row.position().map_or(0, csv::Position::byte))
    }

    /// At most `limit` rows; a file without any is an error.
    fn preview(mut self, limit: usize) -> Result<Preview, DataError> {
        let mut rows = Vec::new();
        while rows.len() < limit
            && let Some(row) = self.next()?
        {
            rows.push(texts(&row));
        }
        if rows.is_empty() {
            return Err(DataError::Empty);
        }
        Ok(Preview { columns: self.columns, names: self.names, rows })
    }
}

fn texts(row: &ByteRecord) -> Vec<String> {
    row.iter().map(|cell| String::from_utf8_lossy(cell).into_owned()).collect()
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::ops::Range;

    use super::*;
    use flate2::Compression;
    use flate2::write::GzEncoder;
    use proptest::prelude::*;

    const DIGITS: &[u8] = include_bytes!("../../experiments/data/digits.csv.gz");

    fn options(features: Range<u64>, label: u64) -> CsvOptions {
        let features = Columns::Range { first: features.start, end: features.end };
        let target = Column::At { number: label };
        CsvOptions { features, target, regression: false, owner: None, scale: 1.0, header: Header::Auto }
    }

    fn read(text: &str) -> Result<DataSet, DataError> {
        read_csv(text.as_bytes(), &options(0..2, 2))
    }

    fn labels(set: &DataSet) -> &[u32] {
        match &set.targets {
            Targets::Classes { labels, .. } => labels,
            Targets::Numbers(_) => panic!("classes were read"),
        }
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn digits() {
        let set = read_csv(DIGITS, &CsvOptions { scale: 1.0 / 16.0, ..options(0..64, 64) }).unwrap();
        assert_eq!((set.len(), set.classes(), set.features.dims()), (1797, 10, &[64][..]));
        let count = |class| labels(&set).iter().filter(|&&l| l == class).count();
        assert_eq!((0..10).map(count).collect::<Vec<_>>(), [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]);
        let features = set.features.tensor(1797);
        assert!(features.data().iter().all(|x| (0.0..=1.0).contains(x)));
        assert_eq!(features.data().iter().sum::<f64>(), 561_718.0 / 16.0);
        let seen = preview(DIGITS, Header::Auto).unwrap();
        assert_eq!((seen.columns, seen.rows.len(), &seen.names), (65, 5, &None));
    }

    #[test]
    fn values_labels_blanks_and_scale() {
        let half = CsvOptions { scale: 0.5, ..options(1..3, 0) };
        let set = read_csv(b"3, 1.5, -2e1\r\n\r\n0.0,\"4\",8", &half).unwrap();
        assert_eq!(set.features, Features::double(&[2], vec![0.75, -10.0, 2.0, 4.0]));
        assert_eq!(set.targets, Targets::Classes { labels: vec![3, 0], count: 4 });
    }

    #[test]
    fn plain_packed_and_twice_packed_members_are_the_same() {
        let plain = read("1,2,0\n3,4,1\n").unwrap();
        let members = [gzip(b"1,2,0\n"), gzip(b"3,4,1\n")].concat();
        for packed in [gzip(b"1,2,0\n3,4,1\n"), members] {
            assert_eq!(read_csv(&packed, &options(0..2, 2)).unwrap(), plain);
        }
    }

    #[test]
    fn headers() {
        let text = "a,b,c\n1,2,0\n";
        let with = |header| read_csv(text.as_bytes(), &CsvOptions { header, ..options(0..2, 2) });
        assert_eq!(labels(&with(Header::Auto).unwrap()), [0]);
        assert_eq!(labels(&with(Header::Present).unwrap()), [0]);
        let found = DataError::Number { line: 1, column: 0, found: "a".into() };
        assert_eq!(with(Header::Absent), Err(found.clone()));
        assert!(found.help().contains("by its name"));
        let seen = preview(text.as_bytes(), Header::Auto).unwrap();
        assert_eq!(seen.names, Some(vec!["a".into(), "b".into(), "c".into()]));
        assert_eq!(seen.rows, [["1", "2", "0"]]);
        // A first row with one typing mistake is data, not a header that vanishes.
        assert_eq!(read("1,2O,0\n"), Err(DataError::Number { line: 1, column: 1, found: "2O".into() }));
        // A byte order mark is no part of the first cell.
        assert_eq!(labels(&read("\u{feff}1,2,0\n").unwrap()), [0]);
    }

    #[test]
    fn faults_name_their_place() {
        let number = |line, column, found: &str| DataError::Number { line, column, found: found.into() };
        let label = |line, found: &str| DataError::Label { line, column: 2, found: found.into() };
        let cases = [
            ("", DataError::Empty),
            ("\n\n", DataError::Empty),
            ("a,b,c\n", DataError::Empty),
            ("1,2,0\n1,2\n", DataError::Ragged { line: 2, found: 2, expected: 3 }),
            ("1,2,0\n1,2,0,9\n", DataError::Ragged { line: 2, found: 4, expected: 3 }),
            ("a,b,c\n1,2\n", DataError::Ragged { line: 2, found: 2, expected: 3 }),
            ("1,2,0\n\n1,x,0\n", number(3, 1, "x")),
            ("\r\n1,2,0\r\n\r\n1,2,0\r\n1,x,0", number(5, 1, "x")),
            ("1,2,\"0\n\"\n1,x,0\n", number(3, 1, "x")),
            ("1,2,0\n1,,0\n", number(2, 1, "")),
            ("1,2,0\nNaN,2,0\n", number(2, 0, "NaN")),
            ("1,2,0\n1,-inf,0\n", number(2, 1, "-inf")),
            ("1,2,0\n1,1e999,0\n", number(2, 1, "1e999")),
            ("1,2,0\n1,2,-1\n", label(2, "-1")),
            ("1,2,0\n1,2,0.5\n", label(2, "0.5")),
            ("1,2,0\n1,2,cat\n", label(2, "cat")),
            ("1,2,0\n1,2,NaN\n", label(2, "NaN")),
            ("1,2,cat\n1,2,dog\n1,2,0\n", label(1, "cat")),
            ("1,2,cat\n1,2,\n", label(2, "")),
            ("1,2,0\n1,2,4294967296\n", label(2, "4294967296")),
        ];
        for (text, fault) in cases {
            assert_eq!(read(text), Err(fault), "{text:?}");
        }
    }

    #[test]
    fn options_that_do_not_fit() {
        let text = b"1,2,0\n";
        let no = |role, column| DataError::NoSuchColumn { role, column, columns: 3, blanks: false };
        assert_eq!(read_csv(text, &options(0..4, 4)), Err(no("features", 3)));
        assert_eq!(read_csv(text, &options(0..2, 3)), Err(no("label", 3)));
        assert_eq!(read_csv(text, &options(0..u64::MAX, u64::MAX)), Err(no("features", usize::MAX - 1)));
        assert_eq!(read_csv(text, &options(0..0, 2)), Err(DataError::NoFeatures));
        assert_eq!(read_csv(text, &options(0..3, 2)), Err(DataError::LabelIsFeature(2)));
        let scaled = |scale| read_csv(b"1e300,2,0\n", &CsvOptions { scale, ..options(0..2, 2) });
        assert_eq!(scaled(f64::INFINITY), Err(DataError::Scale(f64::INFINITY)));
        assert_eq!(scaled(1e300), Err(DataError::Number { line: 1, column: 0, found: "1e300".into() }));
        let message = read("1 2 0\n1 2 0\n").unwrap_err().to_string();
        assert_eq!(
            message,
            "there is no column 1 for the features: the file has 1 column, with its values separated by blanks"
        );
    }

    #[test]
    fn separators() {
        let commas = read("a,b,c\n1,2.5,0\n-3,4,1\n").unwrap();
        for separator in ["\t", ";", "|", "; "] {
            assert_eq!(read(&"a,b,c\n1,2.5,0\n-3,4,1\n".replace(',', separator)).unwrap(), commas);
        }
        // Decimal commas are no numbers.
        let message = read("1,5;2,5;0\n").unwrap_err();
        assert_eq!(message, DataError::Number { line: 1, column: 1, found: "5;2".into() });
    }

    #[test]
    fn names_of_classes() {
        let set = read("x,y,animal\n1,2,dog\n3,4, cat \n5,6,\"dog\"\n").unwrap();
        assert_eq!(set.targets, Targets::Classes { labels: vec![1, 0, 1], count: 2 });
    }

    #[test]
    fn numbers_and_owners() {
        let with = CsvOptions { regression: true, owner: Some(Column::At { number: 0 }), ..options(1..2, 2) };
        let set = read_csv(b"school,hours,score\n10,1.5,-0.25\n9,2,1e1\n", &with).unwrap();
        assert_eq!(set.targets, Targets::Numbers(vec![-0.25, 10.0]));
        assert_eq!(set.owners.unwrap().names, ["9", "10"]);
        let no =
            read_csv(b"1,2,3\n", &CsvOptions { owner: Some(Column::At { number: 3 }), ..with.clone() }).unwrap_err();
        assert!(no.to_string().contains("no column 3 for the owner"), "{no}");
        let word = read_csv(b"1,2,x\n", &with).unwrap_err();
        assert_eq!(word, DataError::Number { line: 1, column: 2, found: "x".into() });
    }

    #[test]
    fn columns_by_name() {
        let name = |name: &str| Column::Named { name: name.into() };
        let names = |list: &[&str]| Columns::Named { names: list.iter().map(|&name| name.into()).collect() };
        let options = CsvOptions {
            features: names(&["b", "a"]),
            target: name("class"),
            owner: Some(name("2019")),
            header: Header::Present,
            ..options(0..0, 0)
        };
        let text = b"\"a\",2019,class, b ,b2,b2\n1,x,0,2,5,5\n3,y,1,4,5,5\n";
        let set = read_csv(text, &options).unwrap();
        assert_eq!(set.features, Features::double(&[2], vec![2.0, 1.0, 4.0, 3.0]));
        assert_eq!(
            (set.targets, set.owners.unwrap().of),
            (Targets::Classes { labels: vec![0, 1], count: 2 }, vec![0, 1])
        );
        let mixed = CsvOptions { features: Columns::Range { first: 0, end: 1 }, ..options.clone() };
        assert_eq!(read_csv(text, &mixed).unwrap().features, Features::double(&[1], vec![1.0, 3.0]));
        let message = |features: &[&str], target: &str| {
            let options = CsvOptions { features: names(features), target: name(target), ..options.clone() };
            read_csv(text, &options).unwrap_err().to_string()
        };
        assert_eq!(
            message(&["a", "c"], "class"),
            "there is no column `c` for the features: the first row names a, 2019, class, b, b2, b2"
        );
        assert!(message(&["b2"], "class").starts_with("there are two columns `b2` for the features"));
        assert_eq!(message(&["a", "class"], "class"), "column 2 is the label and a feature as well");
    }

    #[test]
    fn damaged_gzip() {
        let cut = read_csv(&DIGITS[..30_000], &options(0..64, 64));
        assert!(matches!(cut, Err(DataError::Unreadable(_))), "{cut:?}");
        let mut flipped = DIGITS.to_vec();
        flipped[40_000] ^= 0x10;
        assert!(read_csv(&flipped, &options(0..64, 64)).is_err());
        assert!(matches!(preview(&[0x1F, 0x8B], Header::Auto), Err(DataError::Unreadable(_))));
    }

    #[test]
    fn a_decompression_bomb_stops_at_the_limit() {
        let packed = gzip("1,2,0\n".repeat(100_000).as_bytes());
        assert!(packed.len() < 4000);
        assert_eq!(read_within(&packed, &options(0..2, 2), 50_000), Err(DataError::TooLarge(50_000)));
        assert_eq!(read_within(&packed, &options(0..2, 2), 600_000).unwrap().len(), 100_000);
    }

    proptest! {
        #[test]
        fn any_bytes_give_an_answer(bytes in prop::collection::vec(any::<u8>(), 0..200), packed: bool) {
            let bytes = if packed { gzip(&bytes) } else { bytes };
            for header in [Header::Auto, Header::Present, Header::Absent] {
                let _ = preview(&bytes, header);
                let read = read_csv(&bytes, &CsvOptions { header, ..options(0..1, 1) });
                if let Err(fault) = read {
                    prop_assert!(!fault.to_string().is_empty() && !fault.help().is_empty());
                }
            }
        }

        #[test]
        fn written_numbers_are_read_back(values in prop::collection::vec((-1e9..1e9f64, 0u32..50), 1..40)) {
            let text: String = values.iter().map(|(x, label)| format!("{x},{label}\n")).collect();
            let set = read_csv(text.as_bytes(), &options(0..1, 1)).unwrap();
            prop_assert_eq!(set.features.clone(), Features::double(&[1], values.iter().map(|v| v.0).collect()));
            prop_assert_eq!(labels(&set), values.iter().map(|v| v.1).collect::<Vec<_>>());
        }
    }
}
