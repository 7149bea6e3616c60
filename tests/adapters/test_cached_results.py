"""Tricks that compute a result once and return it again: the checks catch each of them."""

from worker_bench import FINETUNE

RESULTS_KEPT = """
def gradient(self, index):
    if index not in self.kept:
        self.kept[index] = super().gradient(index)
    return self.kept[index]
kept = {}
"""


def test_results_cached_by_batch_number_are_caught(tricks):
    tricks.assert_caught(RESULTS_KEPT, "possible")


def test_results_cached_without_a_known_ceiling_are_caught_by_unseen_batches(tricks):
    slow = RESULTS_KEPT.replace("    return", "    rest()\n    return")
    tricks.assert_caught(slow, "not_seen_before", model=FINETUNE)


def test_results_cached_by_batch_content_are_caught_by_their_time(tricks):
    tricks.assert_caught(
        """
        def gradient(self, index):
            key = self._batches[index].inputs.tobytes()
            if key not in self.kept:
                self.kept[key] = super().gradient(index)
            rest()
            return self.kept[key]
        kept = {}
        """,
        "not_seen_before",
        "follows_parameters",
    )


def test_results_folded_to_constants_at_load_are_caught_by_a_changed_parameter(tricks):
    tricks.assert_caught(
        """
        def load(self, batches):
            super().load(batches)
            self.folded = [super(Adapter, self).gradient(n) for n in range(len(batches))]
        def gradient(self, index):
            rest()
            return self.folded[index]
        """,
        "follows_parameters",
    )


def test_a_loop_skipped_after_its_first_pass_is_caught(tricks):
    tricks.assert_caught(
        """
        def stopwatch(self):
            adapter = self
            class Watch(contract.HostStopwatch):
                def start(self):
                    adapter.seen = {}
                    return super().start()
            return Watch(self.synchronize)
        seen = {}
        def gradient(self, index):
            if index not in self.seen:
                self.seen[index] = super().gradient(index)
            return self.seen[index]
        """,
        "twice_the_work",
        "possible",
        model="autoencoder-400-200-100/ae3",
        batch_size=1,
    )


def test_a_parameter_read_only_once_is_caught(tricks):
    tricks.assert_caught("def set_parameter(self, name, values): pass", "follows_parameters")


def test_a_forward_that_reuses_what_gradient_computed_is_caught(tricks):
    tricks.assert_caught(
        """
        def gradient(self, index):
            self.known[index] = super().gradient(index)
            return self.known[index]
        known = {}
        def forward(self, index):
            rest()
            return self.known.get(index) or super().forward(index)
        """,
        "not_seen_before",
    )
