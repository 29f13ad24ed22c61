//! Pictures of a life: in a terminal, as SVG, as a page, as a Mermaid diagram. All of them draw the same lanes on the same scale.

mod html;
mod mermaid;
mod scale;
mod svg;
mod terminal;
mod view;

pub use html::page;
pub use mermaid::diagram;
pub use scale::{Piece, Scale};
pub use svg::picture;
pub use terminal::{Cell, Line, Tone, WIDTH_MIN, draw};
pub use view::{View, view};

/// A page or picture names its maker and the version of what it shows.
const GENERATOR: &str = "usher";
