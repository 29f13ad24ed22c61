//! What is at a path of an image, without a mount and without a container.

use std::io;

use super::layered::LayeredRoot;
use super::store::Image;

impl Image {
    /// Looks for the regular file at the absolute `path`, following symbolic links inside the image; gives its path
    /// without them, or `None` where there is nothing.
    ///
    /// # Errors
    /// The layers cannot be read, or what is there is no regular file.
    pub fn find_file(&self, path: &str) -> io::Result<Option<String>> {
        let root = LayeredRoot::open(self.lower_dirs())?;
        let found = root.find_file(path)?;
        Ok(found.map(|(real, _)| String::from_utf8_lossy(&real).into_owned()))
    }
}
