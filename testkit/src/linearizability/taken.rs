//! The set of operations that an order has taken, small enough to be remembered by the thousand.

/// A set of numbers, kept as bits from the first word that is not full to the last that is not empty. An order takes
/// operations roughly in the order of their calls, so its length depends on how much operations overlap, not on the
/// length of the history.
///
/// Equal sets have equal bits.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub(super) struct Taken {
    full_words: usize,
    words: Vec<u64>,
}

impl Taken {
    pub(super) fn contains(&self, number: usize) -> bool {
        let (word, bit) = place(number);
        match word.checked_sub(self.full_words) {
            Some(word) => self.words.get(word).is_some_and(|bits| bits & bit != 0),
            None => true,
        }
    }

    pub(super) fn insert(&mut self, number: usize) {
        let (word, bit) = place(number);
        let word = word.checked_sub(self.full_words).expect("a number that is not in the set");
        if word >= self.words.len() {
            self.words.resize(word + 1, 0);
        }
        self.words[word] |= bit;
        let full = self.words.iter().take_while(|bits| **bits == u64::MAX).count();
        self.words.drain(..full);
        self.full_words += full;
    }

    pub(super) fn remove(&mut self, number: usize) {
        let (word, bit) = place(number);
        if let Some(missing) = self.full_words.checked_sub(word) {
            self.words.splice(..0, std::iter::repeat_n(u64::MAX, missing));
            self.full_words -= missing;
        }
        self.words[word - self.full_words] &= !bit;
        let used = self.words.iter().rposition(|bits| *bits != 0).map_or(0, |last| last + 1);
        self.words.truncate(used);
    }
}

fn place(number: usize) -> (usize, u64) {
    (number / 64, 1 << (number % 64))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn it_holds_what_was_put_in_and_equal_sets_are_equal() {
        let mut taken = Taken::default();
        let mut model = BTreeSet::new();
        let numbers: Vec<usize> = (0..300).map(|number| number * 7 % 300).collect();
        let check = |taken: &Taken, model: &BTreeSet<usize>| {
            assert!((0..400).all(|number| taken.contains(number) == model.contains(&number)), "{taken:?} {model:?}");
            let mut in_order = Taken::default();
            model.iter().for_each(|number| in_order.insert(*number));
            assert_eq!(*taken, in_order);
        };
        for number in &numbers {
            taken.insert(*number);
            model.insert(*number);
            check(&taken, &model);
        }
        assert_eq!(taken.words.len(), 1, "what is full takes no place");
        for number in numbers.iter().rev() {
            taken.remove(*number);
            model.remove(number);
            check(&taken, &model);
        }
    }
}
