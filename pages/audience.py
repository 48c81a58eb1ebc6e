"""Audience: votes from phones become a soft label beside the teacher's."""

from kdexplorer.app.audience import page

page.show_page()
