package main

func init() { families["pooling"] = poolingFamily }

// poolingFamily writes max and average pooling in blocked layout, and of rows in plain layout.
func poolingFamily() {
	for _, l := range vectorLevels {
		for mr := 1; mr <= l.tileWidths[1]; mr++ {
			l.reductionTile(maximum, mr)
			l.reductionTile(average, mr)
		}
	}
	pooledRows()
}
