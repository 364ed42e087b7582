"""What the site is made of besides its pages by hand: a page for each check and experiment, the recipes, the notebooks."""
