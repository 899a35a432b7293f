"""The training loop and its parts. Plain arguments only: nothing here knows a report or a claim."""
