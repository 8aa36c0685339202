"""Ask a model: three questions behind one waist (`engine.lm.LM`), whatever answers them."""
