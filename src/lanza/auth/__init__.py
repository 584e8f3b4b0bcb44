"""Who calls, and what they may do: accounts, tokens, passwords, and the rules over them."""
