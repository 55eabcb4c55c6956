//! Lines, and what is held in them. Parts of the keys are columns and not repeated here.

use domain::{Epoch, HeldRow, LaneKey, Line, LineRow, Position};

use super::{In, Out, Read};

const HELD: u8 = 1;
const LINE: u8 = 1;

/// A whole row; its key column repeats the position.
pub fn encode_held(row: &HeldRow) -> Vec<u8> {
    let mut out = Out::new(HELD, 96);
    out.event_ref(&row.event).fixed(row.key.as_bytes()).time(row.first_due);
    out.end()
}

pub fn decode_held(bytes: &[u8]) -> Read<HeldRow> {
    let mut input = In::new(bytes, HELD, "held row")?;
    let row = HeldRow { event: input.event_ref()?, key: input.line()?, first_due: input.time()? };
    input.end()?;
    Ok(row)
}

/// All of a row but its key and epoch.
pub fn encode_line(row: &LineRow) -> Vec<u8> {
    let mut out = Out::new(LINE, 96);
    out.byte(row.is_open.into()).uint(row.from.0);
    out.option(row.head.as_ref(), |out, head| {
        out.event_ref(head);
    });
    out.option(row.after, |out, after| {
        out.uint(after.0);
    });
    out.uint(row.waiting);
    out.end()
}

pub fn decode_line(lane: LaneKey, line: Line, epoch: Epoch, bytes: &[u8]) -> Read<LineRow> {
    let mut input = In::new(bytes, LINE, "line")?;
    let row = LineRow {
        lane,
        line,
        epoch,
        is_open: input.byte()? != 0,
        from: input.uint().map(Position)?,
        head: input.option(In::event_ref)?,
        after: input.option(|input| input.uint().map(Position))?,
        waiting: input.uint()?,
    };
    input.end()?;
    Ok(row)
}

impl In<'_> {
    fn line(&mut self) -> Read<Line> {
        Line::from_slice(&self.fixed()?).ok_or_else(|| self.damaged())
    }
}
