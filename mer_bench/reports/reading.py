"""How to read the numbers: what each selection rule is, and what stands beside it; words of every report."""

RULES = {
    "nested": "each fold's trial and epoch by its own validation subjects, then refitted on all its training subjects; "
    "strict: the proposals were drawn before the start and nothing was dropped early, else adaptive",
    "nested-no-refit": "as nested, without the refit",
    "shared": "one trial for all folds by pooled validation UF1, each fold's epoch by its validation subjects, then "
    "refitted; slightly optimistic",
    "shared-no-refit": "as shared, without the refit",
    "inner": "one recipe, each fold's epoch by its validation subjects",
    "last": "one recipe, its last epoch, fixed in advance",
    "given-weights": "UNVERIFIED: no training here, but one file of weights for each held-out subject; what it was "
    "trained on and which epoch was kept is the word of whoever made it",
    "self-reported": "predictions made elsewhere and graded here; what chose them is not known",
    "oracle-epoch": "LEAKY: each subject's epoch with the most correct test clips",
    "oracle-global-epoch": "LEAKY: one epoch for all folds by pooled test UF1",
    "oracle-mmnet": "LEAKY: accuracy and F1 each from its own best test epoch of each subject",
    "oracle-trial": "LEAKY: one trial for all folds by pooled test UF1",
}
NOTES = {
    "UF1, UAR": "Unweighted means over classes of F1 and of recall, from counts summed over folds; means over seeds.",
    "[95 %]": "Interval over subjects: what the number might have been had other people been filmed. Clips of one "
    "person resemble each other, so people are drawn, never clips.",
    "seed SD": "Standard deviation over repetitions of the training: another matter than the interval, and beside it.",
    "chance": "Mean UF1 of the same predictions shuffled over all clips. Above chance: the interval's lower end lies "
    "above it.",
    "difference, p": "UF1 minus the reference's, paired by subject; p by flipping whole subjects between the two, "
    "corrected after Holm for the number of challengers. Better is said only if the interval excludes 0 and p is below "
    ".05; no difference shown is not the same as no difference.",
    "rank": "The ranks a model may have when subjects are drawn anew; = may be as good as the first.",
    "optimism": "How much UF1 grows when the choice may see the test labels: oracle-epoch - last of the same run, "
    "oracle-trial - nested-no-refit of the same study.",
    "strict, adaptive": "Strict: proposals were drawn before the study began, so no choice of what to try has seen a "
    "held-out subject. Adaptive: the search has met every subject as someone's validation subject.",
    "folds": "Those done, of all. PARTIAL: some have no answer; such numbers stand last and are compared with nothing. "
    "‡: there is something to know about this evaluation; it stands above the table and with the model.",
    "mean of folds": "Each person's own UF1, averaged, as some papers print it. A class that a person does not show "
    "counts as 0, so it lies below UF1 and is another number.",
    "trials": "Settings that a study tried. Numbers of unequally many trials are not a fair race (†).",
    "trained on": "All: every training subject of a fold; without validation: some were kept back to choose by.",
    "printed": "Most papers keep, for each test subject, the epoch that was best on that subject. Their numbers are "
    "shown beside ours with the rule their code used; compare like with like.",
    "latency, MACs": "One clip, one thread, 32-bit floats. They describe the machine as much as the model.",
}
LEAKY = "Leaky rules saw the test labels. They show how far such a choice flatters; they are not results."
