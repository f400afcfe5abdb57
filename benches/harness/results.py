"""From samples to figures: medians, spread, ratios, and whether the budget is kept."""

from statistics import median

from .shapes import BUDGETS, SHAPES
from .subjects import FLOOR, LIBEVENT, OURS, RUST, STOCK, SUBJECTS, THREADED

# A figure is marked when, in the median, another process kept the server from its core for this part of the window.
DISTURBED = 0.05


class Results:
    """Wraps what results.json holds."""

    def __init__(self, data):
        self.data = data

    def samples(self, shape, subject):
        return self.data["samples"].get(shape, {}).get(subject, [])

    def absent(self, shape, subject):
        """Why there is no figure."""
        return self.data["absent"].get(shape, {}).get(subject, "not measured")

    def values(self, shape, subject, key):
        return [sample[key] for sample in self.samples(shape, subject) if key in sample]

    def value(self, shape, subject, key):
        values = self.values(shape, subject, key)
        return median(values) if values else None

    def spread(self, shape, subject, key):
        """Half the distance between the extremes, as a part of the median."""
        values = self.values(shape, subject, key)
        return (max(values) - min(values)) / 2 / median(values) if len(values) > 1 and median(values) else None

    def ratio(self, shape, subject, against, key, against_shape=None):
        ours, theirs = self.value(shape, subject, key), self.value(against_shape or shape, against, key)
        return ours / theirs if ours is not None and theirs else None

    def disturbed(self, shape, subject):
        waited = self.value(shape, subject, "server_waited")
        return waited is not None and waited > DISTURBED

    def subjects(self):
        return [subject for subject in SUBJECTS if subject.name in self.data["subjects"]]

    def shapes(self):
        return [shape for shape in SHAPES if shape.name in self.data["shapes"]]

    def complete(self):
        return len(self.subjects()) == len(SUBJECTS) and len(self.shapes()) == len(SHAPES) and not self.data["failures"]

    def budget(self):
        """(budget, words, figure or None, kept or None) for each line."""
        shapes = {shape.name: shape for shape in SHAPES}
        for budget in BUDGETS:
            shape = shapes[budget.shape]
            metric = next(metric for metric in shape.metrics if metric.key == budget.metric)
            if budget.against:
                figure = self.ratio(budget.shape, budget.subject, budget.against, budget.metric, budget.against_shape)
                whose = shapes[budget.against_shape].title if budget.against_shape else NAMES[budget.against]
                words = f"{metric.title} ≤ {budget.limit:g} of {whose} at {shape.title}"
            else:
                figure = self.value(budget.shape, budget.subject, budget.metric)
                per = " per connection" if metric.unit == "B" else ""
                words = f"≤ {budget.limit:g} {metric.unit}{per}, {shape.title}, {metric.title}"
            words += WHOSE.get(budget.subject, "")
            yield budget, words, figure, None if figure is None else figure <= budget.limit


WHOSE = {THREADED: ", io_threads = 1", RUST: ", Rust front", LIBEVENT: ", libevent"}
NAMES = {FLOOR: "the C loop", STOCK: "stock server_epoll", OURS: "trochee on epoll"}
