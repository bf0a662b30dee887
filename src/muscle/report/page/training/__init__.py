"""The page's section on training: what each adapter was drawn to, what came of it, and its curves."""
