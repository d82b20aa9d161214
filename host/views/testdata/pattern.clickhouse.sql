error: "/data/a[1]*?{x}" holds '*', which stands for other characters in the engine's patterns: choose another path
