"""A line of a report that is to be copied: who shows it may wrap it, but puts no break into it."""

from dataclasses import dataclass

from rich.console import Console, ConsoleOptions, RenderResult
from rich.text import Text


@dataclass(frozen=True)
class UnwrappedLine:
    """To be printed with crop=False. In a picture, which nobody copies from, it is wrapped."""

    text: str
    style: str = ""

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if console.record:
            yield Text(self.text, self.style)
        else:
            yield Text(self.text, self.style, no_wrap=True, overflow="ignore")
