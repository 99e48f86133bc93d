//! Words of other tools, with the word that means the same here.

/// The other word, and ours.
const SYNONYMS: &[(&str, &str)] = &[
    ("lr", "rate"),
    ("learning_rate", "rate"),
    ("step_size", "rate"),
    ("stepsize", "rate"),
    ("inner_lr", "rate"),
    ("wd", "weight_decay"),
    ("l2", "penalty"),
    ("reg", "penalty"),
    ("batch_size", "batch"),
    ("num_steps", "steps"),
    ("n_steps", "steps"),
    ("inner_steps", "steps"),
    ("iterations", "steps"),
    ("rounds", "steps"),
    ("num_epochs", "epochs"),
    ("local_epochs", "epochs"),
    ("num_clients", "clients"),
    ("n_clients", "clients"),
    ("eps", "epsilon"),
    ("shots", "support"),
    ("shot", "support"),
    ("way", "ways"),
    ("optimizer", "update"),
    ("optimiser", "update"),
    ("criterion", "loss"),
    ("mse", "squared"),
    ("mse_loss", "squared"),
    ("squared_error", "squared"),
    ("mean_squared_error", "squared"),
    ("ce", "cross_entropy"),
    ("nll", "cross_entropy"),
    ("softmax_cross_entropy", "cross_entropy"),
    ("acc", "accuracy"),
    ("gd", "gradient"),
    ("gradient_descent", "gradient"),
    ("ols", "least_squares"),
    ("log", "ln"),
    ("gaussian", "normal"),
    ("randn", "normal"),
    ("orthogonal", "stiefel"),
    ("orthonormal", "stiefel"),
    ("avg", "mean"),
    ("maximum", "max"),
    ("minimum", "min"),
    ("float32", "f32"),
    ("float64", "f64"),
    ("double", "f64"),
    ("second_order", "exact"),
    ("detach", "stop"),
];

/// The word of `known` that means what `foreign` means elsewhere.
pub fn synonym<'a>(foreign: &str, known: &[&'a str]) -> Option<&'a str> {
    let ours = SYNONYMS.iter().filter(|(other, _)| other.eq_ignore_ascii_case(foreign)).map(|(_, ours)| *ours);
    ours.into_iter().find_map(|ours| known.iter().find(|k| **k == ours)).copied()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_word_is_translated_where_ours_is_known() {
        assert_eq!(synonym("lr", &["on", "rate"]), Some("rate"));
        assert_eq!(synonym("LR", &["on", "rate"]), Some("rate"));
        assert_eq!(synonym("lr", &["on"]), None);
        assert_eq!(synonym("rate", &["on", "rate"]), None);
    }
}
