//! Pictures in folders or zip archives: `.../class/picture.png`, and Omniglot's `.../alphabet/character/drawing.png`.

use std::collections::BTreeSet;

use image::{GrayImage, ImageReader, Limits};

use super::archive::Archive;
use super::{DataError, DataSet, Features, Owners, Targets};

/// How pictures become inputs.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ImageOptions {
    /// Height and width after averaging over equal areas.
    pub size: usize,
    /// 1 for grey, 3 for red, green and blue.
    pub channels: usize,
    /// Whether black becomes 1 and white 0, as for ink on paper.
    pub invert: bool,
    /// Whether the folder above the class is the owner, such as the alphabet of a character.
    pub owner: bool,
}

/// The largest side of a picture that is read.
const MOST_PIXELS: u32 = 16_384;

/// All pictures of one or more archives as inputs `[channels, size, size]` from 0 to 1.
///
/// The class of a picture is the folder it lies in, numbered in the order of their names; with an owner, classes of the
/// same name under two owners are two classes. A picture that two archives hold under one name counts once. Files that
/// are no `.png`, `.jpg` or `.jpeg` are left out.
pub fn read_images(archives: &[&[u8]], options: ImageOptions) -> Result<DataSet, DataError> {
    let mut found: BTreeSet<Picture> = BTreeSet::new();
    for bytes in archives {
        let mut archive = Archive::open(bytes)?;
        for path in archive.paths().into_iter().filter(|p| is_picture(p)) {
            let place = Picture::place(&path, options.owner)?;
            let pixels =
                decode(&archive.read(&path)?, options).map_err(|reason| wrong(format!("`{path}`: {reason}")))?;
            found.insert(Picture { pixels, ..place });
        }
    }
    if found.is_empty() {
        return Err(wrong("there are no `.png` or `.jpg` files".into()));
    }
    let mut labels: Vec<u32> = Vec::with_capacity(found.len());
    let mut before: Option<&Picture> = None;
    for picture in &found {
        let same = before.is_some_and(|b| (&b.owner, &b.class) == (&picture.owner, &picture.class));
        let last = labels.last().copied();
        labels.push(last.map_or(0, |label| if same { label } else { label + 1 }));
        before = Some(picture);
    }
    let owners = options.owner.then(|| Owners::from_names(&found.iter().map(|p| p.owner.clone()).collect::<Vec<_>>()));
    let pixels = found.into_iter().flat_map(|p| p.pixels).collect();
    let dims = [options.channels, options.size, options.size];
    Ok(DataSet { features: Features::bytes(&dims, pixels, 1.0 / 255.0), targets: Targets::classes(labels), owners })
}

/// Ordered by owner, class and name, which number the classes.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Picture {
    owner: String,
    class: String,
    name: String,
    pixels: Vec<u8>,
}

impl Picture {
    /// The class and owner that a path says.
    fn place(path: &str, owner: bool) -> Result<Picture, DataError> {
        let mut folders = path.rsplit('/').map(str::to_owned);
        let name = folders.next().unwrap_or_default();
        let class =
            folders.next().ok_or_else(|| wrong(format!("`{path}` lies in no folder; the folder names its class")))?;
        let owner = match (owner, folders.next()) {
            (false, _) => String::new(),
            (true, Some(owner)) => owner,
            (true, None) => return Err(wrong(format!("`{path}` lies in one folder; `OWNER/CLASS/picture` is wanted"))),
        };
        Ok(Picture { owner, class, name, pixels: vec![] })
    }
}

fn is_picture(path: &str) -> bool {
    let ending = path.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    ["png", "jpg", "jpeg"].contains(&ending.as_str())
}

/// The pixels, one plane after the other.
fn decode(bytes: &[u8], options: ImageOptions) -> Result<Vec<u8>, String> {
    let mut reader = ImageReader::new(std::io::Cursor::new(bytes)).with_guessed_format().map_err(|e| e.to_string())?;
    let mut limits = Limits::default();
    (limits.max_image_width, limits.max_image_height) = (Some(MOST_PIXELS), Some(MOST_PIXELS));
    reader.limits(limits);
    let picture = reader.decode().map_err(|e| e.to_string())?;
    let planes: Vec<GrayImage> = match options.channels {
        1 => vec![picture.into_luma8()],
        _ => {
            let rgb = picture.into_rgb8();
            (0..3)
                .map(|c| GrayImage::from_fn(rgb.width(), rgb.height(), |x, y| image::Luma([rgb.get_pixel(x, y)[c]])))
                .collect()
        }
    };
    let mut pixels: Vec<u8> = planes.iter().flat_map(|plane| average(plane, options.size)).collect();
    if options.invert {
        pixels.iter_mut().for_each(|p| *p = 255 - *p);
    }
    Ok(pixels)
}

/// Every new pixel is the mean over the area it covers, in whole numbers: the same on every machine.
fn average(plane: &GrayImage, size: usize) -> Vec<u8> {
    let (width, height) = (plane.width() as usize, plane.height() as usize);
    let rows = shares(height, size);
    let columns = shares(width, size);
    // One new pixel covers `width * height` units of area, where an old one has `size * size`.
    let area = (width * height) as u64;
    let mut out = Vec::with_capacity(size * size);
    for row in &rows {
        for column in &columns {
            let mut sum = 0u64;
            for &(y, dy) in row {
                for &(x, dx) in column {
                    sum += dy * dx * u64::from(plane.get_pixel(x as u32, y as u32)[0]);
                }
            }
            out.push(((sum + area / 2) / area) as u8);
        }
    }
    out
}

/// For each of `to` equal intervals, the old places it meets and by how much, in units of 1 / `to` of an old place; the shares
/// of one interval sum to `from`.
fn shares(from: usize, to: usize) -> Vec<Vec<(usize, u64)>> {
    let share = |i: usize| {
        let (start, end) = (i * from, (i + 1) * from);
        (start / to..end.div_ceil(to))
            .map(|place| (place, ((place + 1) * to).min(end) - (place * to).max(start)))
            .map(|(place, share)| (place, share as u64))
            .collect()
    };
    (0..to).map(share).collect()
}

fn wrong(reason: String) -> DataError {
    DataError::Format { what: "collection of pictures", reason }
}

#[cfg(test)]
mod tests {
    use super::super::archive::pack;
    use super::*;

    const GREY: ImageOptions = ImageOptions { size: 2, channels: 1, invert: false, owner: false };

    fn png(width: u32, height: u32, pixel: impl Fn(u32, u32) -> [u8; 3]) -> Vec<u8> {
        let picture = image::RgbImage::from_fn(width, height, |x, y| image::Rgb(pixel(x, y)));
        let mut bytes = std::io::Cursor::new(Vec::new());
        picture.write_to(&mut bytes, image::ImageFormat::Png).unwrap();
        bytes.into_inner()
    }

    #[test]
    fn areas_are_averaged_exactly() {
        let plane = |w, h, pixels: &[u8]| GrayImage::from_raw(w, h, pixels.to_vec()).unwrap();
        assert_eq!(average(&plane(4, 2, &[0, 10, 20, 30, 2, 12, 22, 32]), 2), [5, 25, 7, 27]);
        // 3 -> 2: each new pixel takes one and a half old ones.
        assert_eq!(average(&plane(3, 3, &[0, 30, 60, 0, 30, 60, 0, 30, 60]), 2), [10, 50, 10, 50]);
        assert_eq!(average(&plane(1, 1, &[7]), 2), [7, 7, 7, 7]);
        for (from, to) in [(105, 28), (28, 28), (5, 7)] {
            assert!(shares(from, to).iter().all(|s| s.iter().map(|(_, n)| n).sum::<u64>() == from as u64));
        }
    }

    #[test]
    fn classes_channels_and_owners() {
        let red = png(2, 2, |_, _| [255, 0, 0]);
        let black = png(2, 2, |_, _| [0, 0, 0]);
        let packed = pack(vec![
            ("root/Greek/alpha/1.png".into(), black.clone()),
            ("root/Greek/beta/1.png".into(), red.clone()),
            ("root/Latin/alpha/1.png".into(), red),
            ("root/readme.txt".into(), vec![]),
        ])
        .unwrap();
        let set = read_images(&[&packed], ImageOptions { owner: true, ..GREY }).unwrap();
        assert_eq!(set.targets, Targets::Classes { labels: vec![0, 1, 2], count: 3 });
        assert_eq!(set.owners.unwrap().names, ["Greek", "Latin"]);
        let set = read_images(&[&packed], ImageOptions { channels: 3, invert: true, ..GREY }).unwrap();
        assert_eq!(set.classes(), 2);
        assert_eq!(set.features.dims(), [3, 2, 2]);
        assert_eq!(set.features.tensor(3).data()[..12], [0., 0., 0., 0., 1., 1., 1., 1., 1., 1., 1., 1.]);
    }

    #[test]
    fn faults() {
        let message = |path: &str, bytes: &[u8], owner| {
            let packed = pack(vec![(path.into(), bytes.to_vec())]).unwrap();
            read_images(&[&packed], ImageOptions { owner, ..GREY }).unwrap_err().to_string()
        };
        let good = png(1, 1, |_, _| [0; 3]);
        assert!(message("a.png", &good, false).contains("lies in no folder"));
        assert!(message("a/b.png", &good, true).contains("`OWNER/CLASS/picture` is wanted"));
        assert!(message("a/b.txt", &good, false).contains("no `.png`"));
        assert!(message("a/b.png", &good[..20], false).contains("`a/b.png`"));
    }

    #[test]
    #[allow(clippy::print_stdout, reason = "a skipped test says why")]
    fn omniglot_where_it_lies_beside_the_checkout() {
        let file = |name: &str| std::fs::read(format!("../shared/data/omniglot/images_background_{name}.zip"));
        let (Ok(one), Ok(two)) = (file("small1"), file("small2")) else {
            println!("skipped: Omniglot's small background sets do not lie beside the checkout");
            return;
        };
        let options = ImageOptions { size: 28, channels: 1, invert: true, owner: true };
        let set = read_images(&[&one, &two], options).unwrap();
        assert_eq!((set.classes(), set.len()), (242, 242 * 20));
        assert_eq!(set.owners.unwrap().names.len(), 8);
    }
}
