"""From facts to faults: what is wrong with a picture, a label, a pair, and what a whole set deserves to be told."""

from collections.abc import Mapping
from typing import Any

from mmseg_tapadl.datasets.integrity.coded import CodedRules
from mmseg_tapadl.datasets.integrity.files import Facts
from mmseg_tapadl.datasets.integrity.ids import IdRules
from mmseg_tapadl.datasets.integrity.listing import Listing
from mmseg_tapadl.datasets.integrity.report import MOST_SIZES, Fault, Report
from mmseg_tapadl.utils import shown

# Deep pictures that are loaded with nothing above this are as good as black
_NEARLY_BLACK = 63


class Judge:
    """Judges the files of one listing into a report.

    Args:
        report: Faults, notes, sizes and pixels are added to it.
        listing: The files.
        num_classes: Classes.
        facts: Of every file by (role, path).
    """

    def __init__(
        self,
        report: Report,
        listing: Listing,
        num_classes: int,
        facts: Mapping[tuple[str, str], Facts],
    ) -> None:
        self.report, self.listing, self.facts = report, listing, facts
        rules: dict[str, Any] = dict(ignore_index=listing.ignore_index, data_root=shown(listing.data_root))
        self.rules: IdRules | CodedRules
        if listing.coding is not None:
            self.rules = CodedRules(listing.coding, listing.told)
        else:
            self.rules = IdRules(
                num_classes, label_map=listing.label_map, reduce_zero_label=listing.reduce_zero_label, **rules
            )
        # For loaders that map the ids themselves
        self.final_rules = IdRules(num_classes, **rules)
        # Ids are guessed at over the whole set: one label alone may show too few.
        self.all_ids = {i for (role, _), fact in facts.items() if role == 'label' for i in fact.ids or ()}

    def judge(self) -> None:
        """Everything; the same fault of the same file is told once."""
        for entry in self.listing.entries:
            image, label = entry['img_path'], entry.get('seg_map_path')
            picture = self.facts['image', image]
            self._judge_picture(image, picture, label)
            if label is not None:
                self._judge_label(label, self.facts['label', label], image, picture)
        pictures = self._facts_of('image')
        self._judge_depth(pictures)
        self._note_turned(pictures)
        self._note_unchecked()
        grey = sum(fact.channels == 1 for fact in pictures.values())
        if grey:
            self.report.warnings.append(
                f'{grey} pictures are grey; they are loaded with three equal channels'
            )
        self.report.faults = list(dict.fromkeys(self.report.faults))

    def _facts_of(self, role: str) -> dict[str, Facts]:
        return {path: fact for (which, path), fact in self.facts.items() if which == role}

    def _judge_picture(self, image: str, picture: Facts, label: str | None) -> None:
        if picture.loaded:
            if len(self.report.sizes) < MOST_SIZES:
                self.report.sizes.setdefault((picture.width, picture.height), image)
        elif picture.kind is not None:
            detail = picture.problem or ''
            names = self.listing.names
            if picture.kind == 'missing' and names and image in names.lines:
                detail += f'; line {names.lines[image][0]} of {shown(names.path)} names it'
            self.report.faults.append(
                Fault(f'image_{picture.kind}', image, detail, picture.hint, other=label)
            )

    def _judge_label(self, label: str, fact: Facts, image: str, picture: Facts) -> None:
        """Adds a label's faults, or its pixels, to the report."""

        def add(kind: str, detail: str, hint: str = '') -> None:
            self.report.faults.append(Fault(kind, label, detail, hint, other=image))

        if fact.unchecked is not None:
            return
        if fact.kind is not None:
            add(f'label_{fact.kind}', fact.problem or '', fact.hint or self.rules.remedy(fact.kind))
            return
        if picture.loaded and (fact.width, fact.height) != (picture.width, picture.height):
            hint = ''
            if picture.turned and (fact.height, fact.width) == (picture.width, picture.height):
                hint = (
                    f'the picture is turned on loading (EXIF orientation {picture.orientation}), the label is not; turn '
                    "the label too, or load with color_type='color_ignore_orientation'"
                )
            add(
                'label_size',
                f'is {fact.width}x{fact.height}, its image {picture.width}x{picture.height}',
                hint,
            )
        rules = self.final_rules if fact.mapped else self.rules
        if fact.ids is None:
            if fact.city_colours > 0.9:
                hint = "these are colour labels (Cityscapes' palette); " + rules.advice()
            else:
                hint = fact.hint or 'a colour label, or a picture in place of a label'
            add('label_channels', f'has {fact.channels} channels', hint)
            return
        wrong = rules.wrong(fact.ids)
        if fact.bits > 8 and max(fact.ids, default=0) > 255:
            add('label_bits', f'has {fact.bits} bits and ids up to {max(fact.ids)}', rules.guess(fact.ids))
        elif wrong:
            add(
                rules.kind,
                rules.told({i: fact.ids[i] for i in wrong}),
                rules.guess(fact.ids, self.all_ids) or rules.guess(self.all_ids),
            )
        elif all(rules.is_void(i) for i in fact.ids):
            add('label_void', f'every pixel is void ({rules.listed(fact.ids)})')
        for i, count in fact.ids.items():
            if i not in wrong and not rules.is_void(i):
                self.report.pixels[rules.final(i)] += count

    def _judge_depth(self, pictures: Mapping[str, Facts]) -> None:
        """Pictures of more than 8 bits: faults where loading leaves next to nothing or cuts values, else a note."""
        deep = {path: fact for path, fact in pictures.items() if fact.peak is not None}
        if not deep:
            return
        peak = max(fact.peak or 0 for fact in deep.values())
        scale = f"dict(type='LoadDeepImageFromFile', max_value={_full_scale(peak):g})"
        hint = f'{scale} in place of the loading transform scales such pictures to 0..255 (docs/data.md)'
        loaded = {path: fact for path, fact in deep.items() if fact.kind is None}
        black = max((fact.loaded_peak or 0 for fact in loaded.values()), default=0) <= _NEARLY_BLACK
        for path, fact in deep.items():
            if fact.kind is not None:
                told = next(f for f in self.report.faults if f.path == path)
                self.report.faults.remove(told)
                self.report.faults.append(Fault(told.kind, path, told.detail, hint, told.other))
                continue
            left = f'has {fact.bits} bits a channel with values up to {fact.peak:g}; loading makes 0..{fact.loaded_peak:g} of them'
            if black and fact.peak:
                self.report.faults.append(Fault('image_bits', path, f'{left}, nearly black', hint))
            elif self._cuts(fact):
                self.report.faults.append(Fault('image_bits', path, f'{left}, larger values are cut', hint))
        if loaded and not black:
            path, fact = next(iter(loaded.items()))
            self.report.warnings.append(
                f'{len(loaded)} pictures have {fact.bits} bits a channel, with values up to {peak:g}; loading makes 8 bits '
                f'of them, such as 0..{fact.loaded_peak:g} for {shown(path)}'
            )

    def _cuts(self, fact: Facts) -> bool:
        """Whether loading cuts the values of a deep picture rather than scaling them."""
        loader = self.listing.images
        if fact.peak is None:
            return False
        if loader.scale:
            return fact.peak > loader.scale.max_value
        # Keeping the upper 8 of 16 bits is scaling; decoders round up by one at most.
        return (fact.loaded_peak or 0) > int(fact.peak) // 256 + 1

    def _note_turned(self, pictures: Mapping[str, Facts]) -> None:
        turned = {path: fact.orientation for path, fact in pictures.items() if fact.turned}
        if turned:
            path, tag = next(iter(turned.items()))
            self.report.warnings.append(
                f'{len(turned)} pictures are turned on loading, as their EXIF orientation says (such as {tag} of '
                f'{shown(path)}); labels are not: theirs must fit the pictures as they are seen upright'
            )
        labels = self._facts_of('label').items()
        for heeded, what in ((False, 'does not heed'), (True, 'heeds')):
            paths = [path for path, fact in labels if fact.orientation != 1 and fact.turned == heeded]
            if paths:
                self.report.warnings.append(
                    f'{len(paths)} labels carry an EXIF orientation, which loading them {what}, such as {shown(paths[0])}'
                )

    def _note_unchecked(self) -> None:
        for role, what in (('image', 'pictures'), ('label', 'labels')):
            reasons = [fact.unchecked for fact in self._facts_of(role).values() if fact.unchecked]
            for reason in dict.fromkeys(reasons):
                self.report.warnings.append(f'{reasons.count(reason)} {what} not checked: {reason}')


def _full_scale(peak: float) -> float:
    """The largest value that pictures with this peak can be taken to have: of whole bits, or 1 for fractions."""
    return 1.0 if peak <= 1 else float((1 << int(peak).bit_length()) - 1)
