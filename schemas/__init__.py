"""What travels: the typed messages of every topic, the blocks between agents, and the contracts published from them."""
