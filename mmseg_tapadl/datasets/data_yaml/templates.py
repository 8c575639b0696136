"""Where the mask of a picture lies: ``{split}/masks/{stem}_mask.png``."""

import difflib
import os
import re
from dataclasses import dataclass

FIELDS = {
    'split': 'train, val or test',
    'stem': "the picture's name without its ending",
    'name': "the picture's name with its ending",
    'folder': "the picture's folder below that of its split",
    'parent': "the folder above the picture's, below path",
}
_PARTS = re.compile(r'\{([^{}]*)\}')
# Endings that ``.*`` stands for; a JPEG does not keep the values of a mask.
MASK_ENDINGS = ('.png', '.bmp', '.tif', '.tiff', '.gif', '.webp', '.pgm', '.ppm', '.pbm')


@dataclass(frozen=True)
class PicturePlace:
    """A picture as templates speak of it.

    Attributes:
        path: The file.
        folder: Its folder below that of its split; empty where it lies there itself.
        parent: The folder above the one it lies in, below the root.
        stem: Its name without the ending, or what ``pictures:`` says the stem is.
    """

    path: str
    folder: str
    parent: str
    stem: str


def template_fault(text: str, fields: dict[str, str] = FIELDS) -> str:
    """What is wrong with a template; empty for a good one."""
    known = ', '.join(f'{{{name}}}' for name in fields)
    for name in _PARTS.findall(text):
        if name not in fields:
            near = difflib.get_close_matches(name.rpartition('.')[2], fields, n=1)
            hint = f' (did you mean {{{near[0]}}}?)' if near else ''
            return f'{text!r} holds {{{name}}}, which stands for nothing{hint}; known are {known}'
    if re.search(r'[{}]', _PARTS.sub('', text)):
        return f'{text!r} has a brace without its partner'
    if '*' in os.path.dirname(text):
        return f'{text!r}: * can stand in the file name only, not in a folder'
    return ''


def fields_of(text: str) -> set[str]:
    """The names in braces."""
    return set(_PARTS.findall(text))


def is_folder(text: str) -> bool:
    """Whether it names a folder of masks and not masks themselves."""
    return not fields_of(text) & {'stem', 'name'} and '*' not in text


def filled(text: str, **values: str) -> str:
    """The template with values in place of fields; fields without a value stay."""
    return _PARTS.sub(lambda found: values.get(found[1], found[0]), text)


def folder_templates(folder: str, images: str) -> list[str]:
    """The templates that a folder of masks may stand for, those to try first in front.

    Args:
        folder: As written: ``masks``, ``{split}/masks``.
        images: Folder of the split's pictures, below the root: ``images/train``.
    """
    end = '{folder}/{stem}.*'
    found = [f'{folder}/{end}']
    if '{split}' not in folder:
        found.insert(0, f'{folder}/{{split}}/{end}')
        parts = images.replace(os.sep, '/').split('/')
        if 'images' in parts:
            # As ultralytics finds masks: the folder takes the place of "images".
            last = len(parts) - 1 - parts[::-1].index('images')
            found.insert(0, '/'.join([*parts[:last], folder, *parts[last + 1 :], end]))
    return list(dict.fromkeys(found))


class MaskFinder:
    """Finds masks by a template, each folder listed once.

    Args:
        root: What the template is relative to.
        template: With fields, and perhaps ``*`` in the file name.
        split: In place of ``{split}``.
    """

    def __init__(self, root: str, template: str, split: str) -> None:
        self.root, self.template, self.split = root, template, split
        self._listed: dict[str, list[str]] = {}

    def find(self, picture: PicturePlace) -> tuple[str, list[str]]:
        """Where the mask of a picture is expected, and the files that are there.

        Returns:
            The path, and none, one or, where the template holds ``*``, several files.
        """
        values = dict(
            split=self.split,
            stem=picture.stem,
            name=os.path.basename(picture.path),
            folder=picture.folder,
            parent=picture.parent,
        )
        head, tail = os.path.split(self.template)
        folder = os.path.normpath(os.path.join(self.root, filled(head, **values)))
        name = filled(tail, **values)
        if '*' not in tail:
            path = os.path.join(folder, name)
            return path, [path] if os.path.isfile(path) else []
        # A name may itself hold characters that a search would read as its own.
        literal = (re.escape(filled(part, **values)) for part in tail.split('*'))
        wanted = re.compile('.*'.join(literal), re.DOTALL)
        endings = MASK_ENDINGS if tail.endswith('.*') else ()
        found = [
            os.path.join(folder, entry)
            for entry in self._names(folder)
            if wanted.fullmatch(entry) and (not endings or entry.lower().endswith(endings))
        ]
        expected = os.path.join(folder, filled(re.sub(r'\.\*$', '.png', tail).replace('*', ''), **values))
        found = [path for path in found if path != os.path.normpath(picture.path)]
        return (found[0] if found else expected), found

    def _names(self, folder: str) -> list[str]:
        if folder not in self._listed:
            try:
                names = sorted(entry for entry in os.listdir(folder) if not entry.startswith('.'))
            except OSError:
                names = []
            self._listed[folder] = names
        return self._listed[folder]
